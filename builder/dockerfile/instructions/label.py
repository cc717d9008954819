"""LABEL: sets labels of the image."""

from builder.dockerfile.instructions.line import PairLine


class Label(PairLine):
    """LABEL as written."""

    __slots__ = ()
