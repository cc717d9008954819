"""Images as one archive or one directory of the host."""

from collections.abc import Sequence

from builder.exporters.archive import ArchiveSink
from builder.exporters.blobs import Blobs
from builder.exporters.destination import written
from builder.exporters.directory import DirectorySink
from builder.exporters.layout import Root, write_layout


def write_images(
    roots: Sequence[Root], blobs: Blobs, dest: str, stdout: int, *, is_archive: bool = True
) -> None:
    """Write images to `dest`, which as `-` is the descriptor `stdout`."""
    if not is_archive:
        with DirectorySink(dest) as folder:
            write_layout(folder, roots, blobs)
        return
    with written(dest, stdout) as out:
        write_layout(ArchiveSink(out), roots, blobs)
