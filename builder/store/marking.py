"""What may go, and in which order: pure decisions over what the store holds.

Nothing is counted that can be derived: what is needed follows from names, containers and leases;
the rest is cache, and leaves the least recently used first, children before their parents.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence

from builder.values import NamedTuple


class Policy(NamedTuple):
    """How much cache may stay. None means no limit."""

    reserved_bytes: int = 0
    """So much is never taken away."""
    max_used_bytes: int | None = None
    min_free_bytes: int | None = None
    unused_s: int | None = None
    """Only what nobody has used for so long goes."""


class Node(NamedTuple):
    """One thing that may go. `below` are the indexes of what it stands on."""

    kind: str
    name: str
    below: tuple[int, ...]
    last_used_s: int
    size_bytes: int


class Space(NamedTuple):
    """What the store takes now, and what its file system has left; bytes."""

    used_bytes: int
    free_bytes: int


def with_ancestors(ids: Iterable[int], below: Mapping[int, Collection[int]]) -> set[int]:
    """Add to some nodes all that they stand on."""
    found: set[int] = set()
    pending = list(ids)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(below.get(node, ()))
    return found


def eviction_order(nodes: Sequence[Node], needed: Collection[int]) -> list[int]:
    """List the indexes of the nodes that nobody needs, in the order in which they may go."""
    kept = with_ancestors(needed, {index: node.below for index, node in enumerate(nodes)})
    children = [0] * len(nodes)
    for node in nodes:
        for below in node.below:
            children[below] += 1
    heap = [
        (node.last_used_s, index)
        for index, node in enumerate(nodes)
        if not children[index] and index not in kept
    ]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        _, index = heapq.heappop(heap)
        order.append(index)
        for below in nodes[index].below:
            children[below] -= 1
            if not children[below] and below not in kept:
                heapq.heappush(heap, (nodes[below].last_used_s, below))
    return order


def evicted(
    nodes: Sequence[Node], needed: Collection[int], policy: Policy, space: Space, *, now_s: int
) -> list[int]:
    """Choose what goes under a policy: with limits, only until they are met."""
    recent: set[int] = set()
    if policy.unused_s:
        recent = {i for i, n in enumerate(nodes) if now_s - n.last_used_s < policy.unused_s}
    order = eviction_order(nodes, recent.union(needed))
    has_limit = policy.max_used_bytes is not None or policy.min_free_bytes is not None
    used, free = space
    chosen: list[int] = []
    for index in order:
        size_bytes = nodes[index].size_bytes
        if has_limit and _is_met(policy, used, free):
            break
        if used - size_bytes < policy.reserved_bytes:
            break
        chosen.append(index)
        used -= size_bytes
        free += size_bytes
    return chosen


def _is_met(policy: Policy, used_bytes: int, free_bytes: int) -> bool:
    is_small = policy.max_used_bytes is None or used_bytes <= policy.max_used_bytes
    is_free = policy.min_free_bytes is None or free_bytes >= policy.min_free_bytes
    return is_small and is_free
