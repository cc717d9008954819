import os

from builder.kernel.memory import give_back

MIB = 1 << 20


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_freed_memory_goes_back_to_the_kernel() -> None:
    pieces = [bytes(50_000) for _ in range(800)]
    fences = pieces[::20]
    full = resident_bytes()

    del pieces
    give_back()

    assert len(fences) == 40
    assert resident_bytes() < full - 20 * MIB
