"""ENV: sets variables of the image."""

from builder.dockerfile.instructions.line import PairLine


class Env(PairLine):
    """ENV as written."""

    __slots__ = ()
