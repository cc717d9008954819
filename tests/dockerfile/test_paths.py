import posixpath

from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.paths import base_name, clean, destination

paths = st.text(alphabet="ab./ ", max_size=12)


@given(paths)
def test_cleaning_agrees_with_the_standard_library(path: str) -> None:
    assert clean(path) == posixpath.normpath(f"/{path}").replace("//", "/")


@given(paths, paths)
def test_a_cleaned_path_never_climbs_out(path: str, base: str) -> None:
    parts = clean(path, clean(base)).split("/")

    assert ".." not in parts
    assert parts[0] == ""


def test_relative_paths_start_at_the_base() -> None:
    assert clean("../b", "/a/c") == "/a/b"
    assert clean("/b", "/a") == "/b"


def test_a_destination_keeps_the_slash_that_makes_it_a_directory() -> None:
    assert destination("x/", "/w") == "/w/x/"
    assert destination("x", "/w") == "/w/x"
    assert destination(".", "/w") == "/w/"
    assert destination("", "/w") == "/w/"
    assert destination("x/.", "/w") == "/w/x/"
    assert destination("/", "/w") == "/"
    assert destination("..", "/w") == "/"


def test_base_names() -> None:
    assert base_name("/a/b/") == "b"
    assert base_name("/") == "/"
    assert base_name("") == "."
