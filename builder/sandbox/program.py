"""System calls in a row, with the results they must have, as bytes that the trampoline carries out.

Descriptors have the numbers that the kernel will give them: always the lowest that is free. So a
call that went otherwise than foreseen shows in the number of the next, and nothing is executed.
"""

import os
import struct

from builder.kernel import bpf
from builder.kernel.mounts import place

STATUS_FD = 3
PROGRAM_FD = 4
"""Where whoever starts the trampoline puts them; the second is free again in the sandbox."""
MAX_BYTES = 1 << 16
ANY = -1
_NEVER = -(1 << 31)
_PUT_ADDRESS = -1
_HEADER = struct.Struct("<qq")
_STEP = struct.Struct("<iBBHq5q")
_ARGUMENTS = 5


class Place(int):
    """Where something is in the program's memory."""


Argument = int | str | bytes | Place
"""A number; or, passed by its address, a text, bytes, or what is kept already."""


class Program:
    """Collects calls; `encoded` gives them to the trampoline."""

    def __init__(self, clone_flags: int) -> None:
        """Begin the program of a process that is born into new namespaces."""
        self._clone_flags = clone_flags
        self._numbers = bpf.call_numbers(os.uname().machine)
        self._steps: list[tuple[int, int, int, int, int, list[int]]] = []
        self._memory = bytearray()
        self._open = {0, 1, 2, STATUS_FD}

    def __len__(self) -> int:
        """Count the calls."""
        return len(self._steps)

    def call(
        self,
        name: str,
        *arguments: Argument,
        expected: int = 0,
        tolerated: int = 0,
        skipped: int = 0,
    ) -> None:
        """Add a call; after the tolerated errno so many of the following ones are left out."""
        pointers, values = 0, [0] * _ARGUMENTS
        for index, argument in enumerate(arguments):
            kept = self.put(argument) if isinstance(argument, str | bytes) else argument
            values[index] = kept
            pointers |= isinstance(kept, Place) << index
        result = skipped, tolerated, expected
        self._steps.append((self._numbers[name], pointers, *result, values))

    def open(self, name: str, *arguments: Argument, tolerated: int = 0, skipped: int = 0) -> int:
        """Add a call that opens something; the descriptor that it will give."""
        fd = next(number for number in range(len(self._open) + 1) if number not in self._open)
        self.call(name, *arguments, expected=fd, tolerated=tolerated, skipped=skipped)
        self._open.add(fd)
        return fd

    def close(self, fd: int) -> None:
        """Add the closing of a descriptor."""
        self.call("close", fd)
        self._open.remove(fd)

    def refused(self, name: str, *arguments: Argument, errno: int) -> None:
        """Add a call that must fail in this way."""
        self.call(name, *arguments, expected=_NEVER, tolerated=errno)

    def put(self, content: str | bytes) -> Place:
        """Keep something in memory. A text ends with a zero."""
        if isinstance(content, str):
            content = os.fsencode(content) + b"\0"
        self._memory += bytes(-len(self._memory) % 8)
        self._memory += content
        return Place(len(self._memory) - len(content))

    def put_address(self, of: Place, into: Place) -> None:
        """Let the address of one place be written into another."""
        self._steps.append((_PUT_ADDRESS, 0b11, 0, 0, 0, [into, of, 0, 0, 0]))

    def mount(self, source: str, fd: int, fstype: str, flags: int, options: str) -> None:
        """Add a mount on what a descriptor refers to."""
        self.call("mount", source, place(fd), fstype, flags, options or 0)

    def encoded(self) -> bytes:
        """Give the program as the trampoline reads it; ValueError if it is too long for that."""
        start = _HEADER.size + len(self._steps) * _STEP.size
        out = bytearray(_HEADER.pack(self._clone_flags, len(self._steps)))
        for number, pointers, skipped, tolerated, expected, values in self._steps:
            moved = [v + start * (pointers >> i & 1) for i, v in enumerate(values)]
            out += _STEP.pack(number, pointers, skipped, tolerated, expected, *moved)
        out += self._memory
        if len(out) > MAX_BYTES:
            raise ValueError(f"a program of {len(out)} bytes")
        return bytes(out)
