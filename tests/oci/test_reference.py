import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.oci.reference import Reference, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/app", "docker.io/user/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("registry.example/a/b/c", "registry.example/a/b/c:latest"),
        ("index.docker.io/library/x", "docker.io/library/x:latest"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}"),
        ("a__b/c--d/e.f", "docker.io/a__b/c--d/e.f:latest"),
    ],
)
def test_defaults_are_filled_in(text: str, full: str) -> None:
    assert str(parse_reference(text)) == full


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER",
        "a//b",
        "../../etc",
        "-rf",
        "a:",
        "a:-x",
        "a:b:c",
        "a b",
        "a\nb",
        "a\x1b[2J",
        "a_",
        "a___b",
        "a@sha256:short",
        f"a@{DIGEST.upper()}",
        "x" * 300,
        "a:" + "t" * 129,
    ],
)
def test_malformed_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except UsageError:
        return

    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


def test_the_familiar_form_leaves_defaults_out() -> None:
    assert Reference("docker.io", "library/busybox", "latest").familiar == "busybox:latest"
    assert Reference("localhost:5000", "x", "1").familiar == "localhost:5000/x:1"
