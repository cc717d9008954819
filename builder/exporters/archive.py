"""A layout as a tar archive: deterministic, dated 1970, written in one pass."""

from builder.exporters.blobs import Blobs, write_all
from builder.exporters.layout import index_bytes
from builder.layers.tar import Entry, padding
from builder.layers.tarwriter import Writer
from builder.oci.descriptor import Descriptor, Index

_BLOB_MODE = 0o444
_FILE_MODE = 0o644
_FOLDER_MODE = 0o755


class ArchiveSink:
    """Writes a layout's files to a descriptor, which the caller closes."""

    def __init__(self, out: int) -> None:
        """Write to `out`, which may be a pipe."""
        self._out = out
        self._writer = Writer(lambda piece: write_all(out, piece))
        self._folders: set[str] = set()

    def add_blob(self, name: str, descriptor: Descriptor, blobs: Blobs) -> None:
        """Write a blob; StoreError if it is corrupt. The kernel copies it behind its header."""
        self._add_folders(name)
        self._writer.add(Entry(name, mode_bits=_BLOB_MODE, size_bytes=descriptor.size_bytes))
        self._writer.flush()
        blobs.copy(descriptor, self._out)
        write_all(self._out, bytes(padding(descriptor.size_bytes)))

    def add_file(self, name: str, content: bytes) -> None:
        """Write a small file."""
        self._add_folders(name)
        self._writer.add(Entry(name, mode_bits=_FILE_MODE, size_bytes=len(content)), content)

    def add_index(self, name: str, index: Index) -> None:
        """Write the index of all images."""
        self.add_file(name, index_bytes(index))

    def finish(self) -> None:
        """Write the end of the archive."""
        self._writer.close()

    def _add_folders(self, name: str) -> None:
        folders = name.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = "/".join(folders[:depth])
            if folder not in self._folders:
                self._folders.add(folder)
                self._writer.add(Entry(folder, "directory", mode_bits=_FOLDER_MODE))
