"""What commands are written against. One implementation today: the engine in this process."""

from builder.engine.local import LocalEngine as Engine

__all__ = ["Engine"]
