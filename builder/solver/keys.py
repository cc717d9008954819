"""Cache keys: plain recursive hashes, with content in place of history where it is known.

    fast(v) = H(op, [content(i) if i reads a local context else fast(i.vertex)  for i in inputs])
    slow(v) = H(op, [content(i) if i has selectors         else slow(i.vertex)  for i in inputs])

The fast key needs no results, only the client's files; the slow key needs the results of the
inputs, and forgets how they were made. Where a vertex reads only selected paths, a rebuilt input
with equal bytes there gives the slow key of before.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from builder.errors import BuilderError, DockerfileError, NotFound, UsageError
from builder.graph.ops import Context
from builder.graph.vertex import Input, Vertex, operation_key
from builder.oci.digest import Digest, key
from builder.solver.protocols import KeyPart, Result, Worker

KEY_DOMAIN = "key/1"
_UNKNOWN = Digest("")
_T = TypeVar("_T")


def fast_keys(order: Sequence[Vertex], worker: Worker) -> dict[Vertex, Digest]:
    """Compute the fast key of every vertex; `order` lists inputs before their users.

    Of several files of the client that are missing, the last one is told of, where it is missed
    first: the reference asks from the target backwards, and once for equal questions.
    """
    keys: dict[Vertex, Digest] = {}
    missing: dict[str, NotFound] = {}
    for vertex in order:
        try:
            keys[vertex] = located(vertex, partial(_fast, vertex, keys, worker))
        except NotFound as error:
            missing.setdefault(error.what, error)
            keys[vertex] = _UNKNOWN
    if missing:
        raise list(missing.values())[-1]
    return keys


def slow_key(
    vertex: Vertex, inputs: Sequence[Result], worker: Worker
) -> tuple[Digest, tuple[KeyPart, ...]]:
    """Compute the slow key and the parts it was made from; may hash files for a while."""
    operation = key("op/1", operation_key(vertex.op))
    parts = [KeyPart("op", vertex.name, operation)]
    for needed, result in zip(vertex.inputs, inputs, strict=True):
        if needed.selectors is None:
            parts.append(KeyPart("input", needed.vertex.name, result.key))
        else:
            label = " ".join(selector.path for selector in needed.selectors)
            parts.append(KeyPart("content", label, worker.content(result, needed.selectors)))
    return key(KEY_DOMAIN, *(part.digest for part in parts)), tuple(parts)


def step_identity(vertex: Vertex) -> Digest:
    """Name an instruction independently of its inputs' content, to compare builds over time."""
    chain = vertex.inputs[0].vertex.name if vertex.inputs else ""
    return key("step/1", vertex.name, chain)


def located(vertex: Vertex, work: Callable[[], _T]) -> _T:
    """Give an error the place of the vertex, unless it has one.

    What is malformed in an instruction's words is the Dockerfile's error, not the command line's.
    """
    try:
        return work()
    except UsageError as error:
        span = error.span or vertex.span
        if span is None:
            raise
        raise DockerfileError(error.what, fix=error.fix, span=span, word=error.word) from None
    except BuilderError as error:
        if error.span is None:
            error.span = vertex.span
        raise


def _fast(vertex: Vertex, keys: dict[Vertex, Digest], worker: Worker) -> Digest:
    inputs = [_fast_input(needed, keys, worker) for needed in vertex.inputs]
    return key(KEY_DOMAIN, key("op/1", operation_key(vertex.op)), *inputs)


def _fast_input(needed: Input, keys: dict[Vertex, Digest], worker: Worker) -> Digest:
    if isinstance(needed.vertex.op, Context) and needed.selectors is not None:
        return worker.context_content(needed.vertex, needed.selectors)
    return keys[needed.vertex]
