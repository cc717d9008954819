"""Layers: what changed between two file systems, as tar streams and as directories."""
