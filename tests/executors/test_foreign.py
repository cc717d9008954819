import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.executors.foreign import foreign_program

ENV = ("PATH=/none:/bin",)


def elf(machine: int, order: str = "<") -> bytes:
    data = 1 if order == "<" else 2
    return b"\x7fELF\x02" + bytes([data]) + bytes(10) + struct.pack(order + "HH", 2, machine)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "arm").write_bytes(elf(183))
    (folder / "mainframe").write_bytes(elf(22, ">"))
    (folder / "own").write_bytes(elf(62))
    (folder / "old").write_bytes(elf(3))
    (folder / "strange").write_bytes(elf(4660))
    (folder / "script").write_bytes(b"#!/bin/arm -x\n")
    (folder / "text").write_bytes(b"echo")
    (folder / "empty").write_bytes(b"")
    os.mkfifo(folder / "pipe")
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/bin/arm", "/bin/arm is a program for arm64, which this machine (amd64) cannot run"),
        ("arm", "/bin/arm is a program for arm64"),
        ("script", "/bin/arm is a program for arm64"),
        ("mainframe", "is a program for s390x"),
        ("strange", "is a program for machine 4660"),
    ],
)
def test_a_program_of_another_machine_is_named(root: int, name: str, words: str) -> None:
    found = foreign_program(root, [name, "x"], ENV, "amd64")

    assert found is not None
    assert words in found.what


@pytest.mark.parametrize("name", ["own", "old", "text", "empty", "pipe", "none", "/none/arm"])
def test_all_else_has_another_reason(root: int, name: str) -> None:
    assert foreign_program(root, [name], ENV, "amd64") is None
