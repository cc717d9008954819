import os

import pytest

from builder.sandbox.program import ANY, MAX_BYTES, Place, Program


def test_descriptors_are_the_lowest_free_ones() -> None:
    program = Program(0)

    first, second = (program.open("openat", -100, "/", os.O_PATH) for _ in range(2))
    program.close(first)
    third = program.open("openat", -100, "/", os.O_PATH)

    assert (first, second, third) == (4, 5, 4)


def test_texts_and_bytes_are_in_memory_behind_the_steps() -> None:
    program = Program(0x20000)
    program.call("chdir", "/a")
    program.call("write", 1, b"b", 1, expected=ANY)

    encoded = program.encoded()

    assert encoded[:16] == (0x20000).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert encoded[16 + 2 * 56 :] == b"/a\0".ljust(8, b"\0") + b"b"
    assert int.from_bytes(encoded[16 + 16 : 16 + 24], "little") == 16 + 2 * 56


def test_what_is_kept_is_passed_by_its_place() -> None:
    program = Program(0)
    program.put("x")
    place = program.put(b"12345678")

    assert isinstance(place, Place)
    assert place == 8


def test_a_program_has_a_limit() -> None:
    program = Program(0)
    program.put(bytes(MAX_BYTES))

    with pytest.raises(ValueError, match="bytes"):
        program.encoded()
