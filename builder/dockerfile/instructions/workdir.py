"""WORKDIR: sets the working directory."""

from builder.dockerfile.instructions.line import TextLine


class Workdir(TextLine):
    """WORKDIR as written, to be expanded."""

    __slots__ = ()
