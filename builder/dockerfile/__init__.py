"""Dockerfiles: text to instructions to a graph of vertices, without any I/O."""
