"""Plain values in a file of ours, with a sum that tells whether it is as it was written.

A flipped bit would name wrong content, so what is damaged counts as absent. This is no seal against
anybody: only files that this user alone can write are read so.
"""

import marshal
from typing import Any

from xxhash import xxh3_128_digest

_SUM_BYTES = 16


def sealed(magic: bytes, value: Any) -> bytes:
    """Write a value of what marshal takes; `magic` names the format and its version."""
    content = marshal.dumps(value)
    return magic + xxh3_128_digest(content) + content


def unsealed(magic: bytes, packed: bytes) -> Any:
    """Read what `sealed` wrote; None for anything else."""
    start = len(magic) + _SUM_BYTES
    content = memoryview(packed)[start:]
    if packed[:start] != magic + xxh3_128_digest(content):
        return None
    try:
        return marshal.loads(content)  # noqa: S302 - our own, and whole
    except (ValueError, EOFError, TypeError):  # another program's, with the same magic
        return None
