"""The inputs of one operation while it is put together: numbered vertices with what is read."""

from builder.graph.vertex import Input, Selector, Vertex


class Inputs:
    """Numbers the vertices that an operation reads, each once; the root is number 0."""

    def __init__(self, root: Vertex) -> None:
        """Begin with the root, which counts as a whole."""
        self._root = root
        self._read: dict[int, tuple[Vertex, list[Selector] | None]] = {}

    def part(self, vertex: Vertex, selector: Selector) -> int:
        """Read one more part of a vertex; give its number."""
        _vertex, selectors = self._read.setdefault(id(vertex), (vertex, []))
        if selectors is not None and selector not in selectors:
            selectors.append(selector)
        return self._number(vertex)

    def whole(self, vertex: Vertex) -> int:
        """Read all of a vertex, by its lineage; give its number."""
        self._read[id(vertex)] = (vertex, None)
        return self._number(vertex)

    def done(self) -> tuple[Input, ...]:
        """Give the inputs in order of their numbers."""
        read = (
            Input(vertex, None if selectors is None else tuple(selectors))
            for vertex, selectors in self._read.values()
        )
        return (Input(self._root), *read)

    def _number(self, vertex: Vertex) -> int:
        return 1 + list(self._read).index(id(vertex))
