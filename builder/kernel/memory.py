"""Memory of this process."""

from builder.kernel import libc


def give_back() -> None:
    """Return what is free to the kernel: allocators keep it, and a fork would copy its tables.

    Spec: malloc_trim(3), which is the GNU library's alone.
    """
    try:
        trim = libc.Function(libc.address("malloc_trim"))
    except OSError:
        return
    trim(libc.UnsignedLong(0))
