"""Ways through a graph: an order in which inputs come first, and drawings of it."""

from collections.abc import Iterable

from builder.graph.vertex import Vertex


def topological(targets: Iterable[Vertex]) -> list[Vertex]:
    """List every vertex that the targets need, inputs before their users, each once.

    Needs no recursion, so chains of thousands of steps are fine.
    """
    order: list[Vertex] = []
    state: dict[int, bool] = {}
    stack = list(reversed(list(targets)))
    while stack:
        vertex = stack[-1]
        if id(vertex) not in state:
            state[id(vertex)] = False
            pending = [i.vertex for i in vertex.inputs if id(i.vertex) not in state]
            stack.extend(reversed(pending))
            continue
        stack.pop()
        if not state[id(vertex)]:
            state[id(vertex)] = True
            order.append(vertex)
    return order


def unified(targets: Iterable[Vertex]) -> list[Vertex]:
    """Give the targets of an equal graph in which equal vertices are one.

    Two stages that begin with the same steps share them, so that they are executed once.
    """
    targets = list(targets)
    known: dict[tuple[str, bool], Vertex] = {}
    replacement: dict[int, Vertex] = {}
    for vertex in topological(targets):
        inputs = tuple(i._replace(vertex=replacement[id(i.vertex)]) for i in vertex.inputs)
        is_same = all(a.vertex is b.vertex for a, b in zip(inputs, vertex.inputs, strict=True))
        identity = (vertex.digest, vertex.is_ignoring_cache)
        if identity not in known:
            known[identity] = vertex if is_same else vertex.with_inputs(inputs)
        replacement[id(vertex)] = known[identity]
    return [replacement[id(target)] for target in targets]


def render_text(targets: Iterable[Vertex]) -> str:
    """Write one line a vertex: its number, its name, and the numbers of what it reads."""
    order = topological(targets)
    number = {id(vertex): index for index, vertex in enumerate(order, 1)}
    lines = []
    for vertex in order:
        reads = ", ".join(_edge(number[id(i.vertex)], i.selectors) for i in vertex.inputs)
        kind = type(vertex.op).__name__
        lines.append(f"{number[id(vertex)]}: {kind} {vertex.name}" + (f" <- {reads}" * bool(reads)))
    return "\n".join(lines) + "\n"


def _edge(number: int, selectors: tuple[object, ...] | None) -> str:
    if selectors is None:
        return str(number)
    paths = " ".join(str(getattr(selector, "path", selector)) for selector in selectors)
    return f"{number}[{paths}]"
