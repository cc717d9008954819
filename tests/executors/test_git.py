from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.executors.git import run_git, without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fatal: https://u:p@h.example/r.git: no", "fatal: https://h.example/r.git: no"),
        ("'ssh://git@h' and 'https://t@x'", "'ssh://h' and 'https://x'"),
        ("https://h/a@b", "https://h/a@b"),
        ("no url", "no url"),
    ],
)
def test_credentials_are_not_repeated(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize("remote", ["ext::sh -c touch% PWNED", "file:///etc", "/etc", "fd::3"])
def test_only_network_protocols_are_spoken(tmp_path: Path, remote: str) -> None:
    with pytest.raises(BuilderError, match=r"not allowed|not appear"):
        run_git(["ls-remote", "--", remote], str(tmp_path))


def test_a_remote_is_never_an_option(tmp_path: Path) -> None:
    with pytest.raises(BuilderError):
        run_git(["ls-remote", "--", "--upload-pack=touch PWNED"], str(tmp_path))
