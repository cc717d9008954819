"""Containers: what they are made of, where they stand, and the processes that watch over them."""
