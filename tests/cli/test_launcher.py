"""tools/launcher: the program starts from wherever it was installed, called by whatever name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Lay an installation out as pip does, at a path with a space."""
    prefix = tmp_path / "a prefix"
    packages = prefix / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    (prefix / "bin").mkdir()
    (packages / "builder").symlink_to(REPOSITORY / "builder")
    shutil.copy(REPOSITORY / "tools/launcher", prefix / "bin/builder")
    return prefix


def python_in(directory: Path, name: str = "python3") -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).symlink_to(getattr(sys, "_base_executable", sys.executable))


def started(*words: str | Path, path: Path | None = None) -> str:
    environ = {"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin", "HOME": "/nonexistent"}
    ended = subprocess.run(words, check=False, capture_output=True, text=True, env=environ)
    assert ended.stderr == ""
    return ended.stdout


def test_it_uses_the_python_beside_it(prefix: Path) -> None:
    python_in(prefix / "bin")

    assert started(prefix / "bin/builder", "--version").startswith("builder version")


def test_it_starts_through_links(prefix: Path, tmp_path: Path) -> None:
    python_in(prefix / "bin")
    (tmp_path / "absolute").symlink_to(prefix / "bin/builder")
    (tmp_path / "relative").symlink_to("absolute")
    (tmp_path / "inside").symlink_to("a prefix/bin/builder")

    for link in ("absolute", "relative", "inside"):
        assert started(tmp_path / link, "--version").startswith("builder version")


def test_it_starts_by_name_and_by_shell(prefix: Path) -> None:
    python_in(prefix / "bin")

    assert started("builder", "--version", path=prefix / "bin").startswith("builder version")
    assert started("/bin/sh", prefix / "bin/builder", "--version").startswith("builder version")


def test_without_a_python_beside_it_the_packages_folder_names_one(
    prefix: Path, tmp_path: Path
) -> None:
    python_in(tmp_path / "elsewhere", VERSION)

    said = started(prefix / "bin/builder", "--version", path=tmp_path / "elsewhere")

    assert said.startswith("builder version")


def test_a_folder_that_only_site_knows_is_found(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    packages = environment / "lib" / VERSION / "site-packages"
    (packages / "builder.pth").write_text(f"{REPOSITORY}\n")
    shutil.copy(REPOSITORY / "tools/launcher", environment / "bin/builder")

    assert started(environment / "bin/builder", "--version").startswith("builder version")


def test_words_arrive_unchanged(prefix: Path) -> None:
    words = ["", "two  words", "$HOME", "*", "ünï"]
    echo = prefix / "bin/python3"
    echo.write_text('#!/bin/sh\nshift 6; printf "%s\\n" "$@"\n')
    echo.chmod(0o755)

    assert started(prefix / "bin/builder", *words).splitlines() == words
