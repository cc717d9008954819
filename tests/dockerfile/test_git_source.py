import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.git_source import GitSource, InvalidGitSource, git_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com/foo.git", GitSource("https://example.com/foo.git")),
        ("http://example.com/foo.git#dev", GitSource("http://example.com/foo.git", "dev")),
        ("git://example.com/foo", GitSource("git://example.com/foo")),
        ("git@example.com:a/b", GitSource("git@example.com:a/b")),
        ("ssh://git@example.com/a.git", GitSource("ssh://git@example.com/a.git")),
        (
            "https://example.com/f.git#baz/qux:quux/../quuz",
            GitSource("https://example.com/f.git", "baz/qux", "quuz"),
        ),
        (
            "https://example.com/f.git?tag=v1&subdir=/a/b&keep-git-dir&submodules=false",
            GitSource(
                "https://example.com/f.git",
                "refs/tags/v1",
                "a/b",
                keep_git_dir=True,
                submodules=False,
            ),
        ),
        (
            "https://example.com/f.git?branch=x%2Fy&commit=abc",
            GitSource("https://example.com/f.git", "refs/heads/x/y", checksum="abc"),
        ),
    ],
)
def test_git_sources_are_read(text: str, expected: GitSource) -> None:
    assert git_source(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/foo",
        "https://example.com/foo.git/",
        "https://example.com/foo.git.bar",
        "github.com/moby/buildkit",
        "./a.git",
        "a.git",
        "https:///a.git",
        "ftp://example.com/foo.git",
        "file with@odd host:path",
    ],
)
def test_other_sources_are_not_git(text: str) -> None:
    assert git_source(text) is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("x=1", 'unexpected query "x"'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("ref=", 'query "ref" has no value'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("ref=a&tag=b", 'ref conflicts: "a" vs "refs/tags/b"'),
        ("submodules=maybe", 'invalid submodules value: "maybe"'),
        ("ref=%zz", 'invalid URL escape "%zz"'),
    ],
)
def test_contradictory_options_are_refused(query: str, reason: str) -> None:
    with pytest.raises(InvalidGitSource) as caught:
        git_source(f"https://example.com/a.git?{query}")

    assert str(caught.value) == reason


@given(st.text(max_size=30))
def test_any_text_is_read_refused_or_something_else(text: str) -> None:
    try:
        source = git_source(text)
    except InvalidGitSource:
        return

    assert source is None or text.startswith(source.remote)


@given(st.text(alphabet="abc./", max_size=20))
def test_a_subdirectory_stays_inside(subdir: str) -> None:
    source = git_source(f"https://example.com/a.git#r:{subdir}")

    assert source is not None
    assert not set(source.subdir.split("/")) & {"..", "."}
