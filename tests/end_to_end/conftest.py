from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.end_to_end.site import Site


@pytest.fixture
def site(
    tmp_path: Path, builder: Callable[..., CompletedProcess[bytes]], busybox_archive: Path
) -> Site:
    """Give a state directory that holds busybox, and an empty build context."""
    made = Site(tmp_path, builder)
    made.run("load", "--quiet", "--input", str(busybox_archive), "--tag", "busybox")
    return made


@pytest.fixture
def clean(
    tmp_path: Path, builder: Callable[..., CompletedProcess[bytes]], busybox_archive: Path
) -> Site:
    """Give a second state directory, whose cache is never used."""
    directory = tmp_path / "clean"
    directory.mkdir()

    def program(*words: str, **options: object) -> CompletedProcess[bytes]:
        return builder(*words, BUILDER_ROOT=str(directory / "state"), **options)

    made = Site(directory, program)
    made.run("load", "--quiet", f"--input={busybox_archive}", "--tag=busybox")
    return made
