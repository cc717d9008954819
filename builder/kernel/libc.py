"""Functions of the C library, called through `_ctypes`: the ctypes package costs 2.5 ms to import.

A call keeps its errno for `get_errno`, and releases the interpreter lock unless it is told to hold
it. Arguments are converted as ctypes does: numbers to C numbers, bytes to their address.
"""

from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_PYTHONAPI,
    FUNCFLAG_USE_ERRNO,
    POINTER,
    Array,
    CFuncPtr,
    _Pointer,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)
from typing import Any, TypeAlias

__all__ = ["Array", "addressof", "get_errno"]


class Int(_SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    """A C int."""

    _type_ = "i"


class Unsigned32(_SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    """A uint32_t."""

    _type_ = "I"


class Long(_SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    """A C long: what the kernel takes as a register."""

    _type_ = "l"


class UnsignedLong(_SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    """An unsigned C long, or size_t."""

    _type_ = "L"


class Text(_SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    """The address of bytes that end with a zero; None is a null pointer."""

    _type_ = "z"


class _Byte(_SimpleCData):  # type: ignore[type-arg]  # not generic at run time
    _type_ = "c"


class Function(CFuncPtr):
    """A function that gives an int."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Int


class LongFunction(CFuncPtr):
    """A function that gives a long."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Long


class LockedFunction(CFuncPtr):
    """A function that gives a long and is called with the interpreter lock held."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO | FUNCFLAG_PYTHONAPI
    _restype_ = Long


Value: TypeAlias = "_SimpleCData[Any] | Array[Any] | _Pointer[Any]"
"""What may be passed."""

_handle = dlopen(None, 0)  # type: ignore[arg-type]  # the program itself, with all it is linked to
Longs = POINTER(Long)


def address(name: str) -> int:
    """Find a function of the C library; OSError if it has none of this name."""
    return dlsym(_handle, name)


def buffer(content: bytes, size: int) -> "Array[_Byte]":
    """Make writable memory of a size, that begins with some bytes."""
    return (_Byte * size).from_buffer_copy(content.ljust(size, b"\0"))
