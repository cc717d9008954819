"""A vertex applies an operation to the results of other vertices.

Vertices are compared by identity; their digest names what was asked for, computed without I/O.
"""

from builder.graph.ops import Context, Exec, Files, Git, Http, Image, Op
from builder.oci.digest import Digest, Field, key
from builder.source import Span
from builder.values import NamedTuple

_WILDCARDS = frozenset("*?[")


class Selector(NamedTuple):
    """One part of an input that an operation reads: if only that is equal, the result is.

    `path` is the source of a copy or a mount; it holds wildcards only if `has_wildcards`.
    """

    path: str
    has_wildcards: bool = False
    exclude: tuple[str, ...] = ()
    is_required: bool = True
    """Whether it is an error that nothing is there."""
    is_deep: bool = False
    """Whether `**` stands for any number of directories; else it is a `*`."""


class Input(NamedTuple):
    """A vertex whose result is read: selected parts of it, or (None) the whole by its lineage."""

    vertex: "Vertex"
    selectors: tuple[Selector, ...] | None = None


def has_wildcards(path: str) -> bool:
    """Say whether the path of a source is a pattern: it has an unescaped `*`, `?` or `[`."""
    characters = iter(path)
    for character in characters:
        if character in _WILDCARDS:
            return True
        if character == "\\":
            next(characters, None)
    return False


class Vertex:
    """An operation and its inputs, with the name and the place to show for it."""

    __slots__ = ("_digest", "inputs", "is_ignoring_cache", "name", "op", "span")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Input, ...] = (),
        *,
        name: str = "",
        span: Span | None = None,
        is_ignoring_cache: bool = False,
    ) -> None:
        """Keep the operation, what it reads, its display name and its instruction's span."""
        self.op = op
        self.inputs = inputs
        self.name = name
        self.span = span
        self.is_ignoring_cache = is_ignoring_cache
        self._digest: Digest | None = None

    @property
    def digest(self) -> Digest:
        """Name what was asked for: the operation and, recursively, its inputs.

        Inputs are older than their vertex, so the recursion is broken by their kept digests: ask
        the vertices in topological order where chains may be long.
        """
        if self._digest is None:
            inputs = tuple((i.vertex.digest, i.selectors) for i in self.inputs)
            self._digest = key("vertex/1", operation_key(self.op), inputs)
        return self._digest

    def with_inputs(self, inputs: tuple[Input, ...]) -> "Vertex":
        """Make the same vertex on other vertices of the same digests."""
        return Vertex(
            self.op,
            inputs,
            name=self.name,
            span=self.span,
            is_ignoring_cache=self.is_ignoring_cache,
        )


def operation_key(op: Op) -> Field:  # noqa: PLR0911 - one case for each operation
    """List the fields of an operation that decide its result; what must not count is left out."""
    match op:
        case Image():
            return ("image", op.diff_ids)
        case Context():
            return ("context", op.name, op.patterns)
        case Http():
            return ("http", op.filename, op.digest, op.mode_bits)
        case Exec():
            names = tuple(name for name, _address in op.extra_hosts)
            kept = op._replace(extra_hosts=(), cgroup_parent="", proxy_env=())
            return ("exec", names, _fields(kept))
        case Files():
            strict = ("strict",) if op.is_strict else ()
            return ("files", ("Files", _fields(op.actions)), *strict)
        case Git():
            return ("git", _fields(op._replace(ref="")))
        case _:
            return (type(op).__name__.lower(), _fields(op))


def _fields(value: object) -> Field:
    """Turn nested named tuples into plain fields, each tagged with its type's name."""
    if isinstance(value, tuple):
        kind = type(value).__name__ if hasattr(value, "_fields") else ""
        return (kind, *(_fields(item) for item in value))
    if value is None or isinstance(value, str | int | bytes):
        return value
    raise TypeError(f"{type(value).__name__} cannot be part of a key")
