"""CMD: sets what a container runs by default."""

from builder.dockerfile.instructions.line import CommandLine


class Cmd(CommandLine):
    """CMD as written."""

    __slots__ = ()
