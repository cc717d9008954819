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
