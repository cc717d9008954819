"""Registries over HTTP: pull, push, and everything that stands between a name and its bytes."""
