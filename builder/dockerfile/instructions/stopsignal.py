"""STOPSIGNAL: sets the signal that ends a container."""

from builder.dockerfile.instructions.line import TextLine


class Stopsignal(TextLine):
    """STOPSIGNAL as written, to be expanded."""

    __slots__ = ()
