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
    """One thing that may go. `parent` is the index of what it stands on; None for nothing."""

    kind: str
    name: str
    parent: int | None
    last_used_s: int
    size_bytes: int


class Space(NamedTuple):
    """What the store takes now, and what its file system has left; bytes."""

    used_bytes: int
    free_bytes: int


def with_ancestors(ids: Iterable[int], parents: Mapping[int, int | None]) -> set[int]:
    """Add to some nodes all that they stand on."""
    found: set[int] = set()
    for start in ids:
        node: int | None = start
        while node is not None and node not in found:
            found.add(node)
            node = parents.get(node)
    return found


def eviction_order(nodes: Sequence[Node], needed: Collection[int]) -> list[int]:
    """List the indexes of the nodes that nobody needs, in the order in which they may go."""
    parents = {index: node.parent for index, node in enumerate(nodes)}
    kept = with_ancestors(needed, parents)
    children = [0] * len(nodes)
    for node in nodes:
        if node.parent is not None:
            children[node.parent] += 1
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
        parent = nodes[index].parent
        if parent is None:
            continue
        children[parent] -= 1
        if not children[parent] and parent not in kept:
            heapq.heappush(heap, (nodes[parent].last_used_s, parent))
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
