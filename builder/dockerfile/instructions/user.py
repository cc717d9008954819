"""USER: sets who runs commands."""

from builder.dockerfile.instructions.line import TextLine


class User(TextLine):
    """USER as written, to be expanded."""

    __slots__ = ()
