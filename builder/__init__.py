"""A Dockerfile build engine and container runner with layer caching, without a daemon."""

__version__ = "0.1.0"
