"""MAINTAINER: sets the author of the image."""

from builder.dockerfile.instructions.line import TextLine


class Maintainer(TextLine):
    """MAINTAINER as written, never expanded."""

    __slots__ = ()
