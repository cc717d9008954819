"""The build graph: operations, the vertices that apply them, and ways through them."""
