import pytest

from builder.dockerfile.remote import UNNAMED, download_name, is_url


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x/a/b.txt", "b.txt"),
        ("https://x/a/b/?q=/c#/d", "b"),
        ("https://x", UNNAMED),
        ("https://x/", UNNAMED),
        ("https://x/a/..", UNNAMED),
        ("https://x?a/b", UNNAMED),
    ],
)
def test_downloads_are_named_by_the_last_element(url: str, name: str) -> None:
    assert download_name(url) == name


def test_repositories_are_no_downloads() -> None:
    assert is_url("http://x/a")
    assert not is_url("http://x/a.git")
    assert not is_url("http://x/a.git?bad=1")
    assert not is_url("a")
