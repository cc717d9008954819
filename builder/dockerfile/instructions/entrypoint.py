"""ENTRYPOINT: sets what a container always runs."""

from builder.dockerfile.instructions.line import CommandLine


class Entrypoint(CommandLine):
    """ENTRYPOINT as written."""

    __slots__ = ()
