"""What may go, and in which order."""

from hypothesis import given
from hypothesis import strategies as st

from builder.store.marking import Node, Policy, Space, evicted, eviction_order, with_ancestors

NOW_S = 1_000_000


@st.composite
def forests(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(0, 12))
    nodes = []
    for index in range(count):
        parent = draw(st.none() | st.integers(0, index - 1)) if index else None
        age_s = draw(st.integers(-100, 5000))
        nodes.append(
            Node(
                "snapshot",
                str(index),
                () if parent is None else (parent,),
                NOW_S - age_s,
                draw(st.integers(0, 100)),
            )
        )
    return nodes


def needed_of(nodes: list[Node], draw: st.DataObject) -> set[int]:
    if not nodes:
        return set()
    return draw.draw(st.sets(st.integers(0, len(nodes) - 1)))


@given(nodes=forests(), data=st.data())
def test_nothing_needed_goes_and_everything_else_may(
    nodes: list[Node], data: st.DataObject
) -> None:
    needed = needed_of(nodes, data)
    kept = with_ancestors(needed, {i: node.below for i, node in enumerate(nodes)})

    order = eviction_order(nodes, needed)

    assert set(order) == set(range(len(nodes))) - kept
    assert len(order) == len(set(order))


@given(nodes=forests(), data=st.data())
def test_children_go_before_their_parents(nodes: list[Node], data: st.DataObject) -> None:
    order = eviction_order(nodes, needed_of(nodes, data))

    for place, index in enumerate(order):
        children = [i for i, node in enumerate(nodes) if index in node.below]
        assert set(children) <= set(order[:place])


@given(nodes=forests())
def test_of_what_may_go_the_least_recently_used_goes_first(nodes: list[Node]) -> None:
    order = eviction_order(nodes, set())

    for place, index in enumerate(order):
        gone = set(order[:place])
        leaves = [
            node.last_used_s
            for i, node in enumerate(nodes)
            if i not in gone and all(i not in n.below or j in gone for j, n in enumerate(nodes))
        ]
        assert nodes[index].last_used_s == min(leaves)


bounds = st.none() | st.integers(0, 400)
policies = st.builds(Policy, st.integers(0, 400), bounds, bounds, st.none() | st.integers(0, 5000))


@given(nodes=forests(), data=st.data(), policy=policies)
def test_a_policy_is_kept(nodes: list[Node], data: st.DataObject, policy: Policy) -> None:
    needed = needed_of(nodes, data)
    space = Space(sum(node.size_bytes for node in nodes), 50)

    chosen = evicted(nodes, needed, policy, space, now_s=NOW_S)

    freed = sum(nodes[index].size_bytes for index in chosen)
    assert not set(chosen) & needed
    assert not chosen or space.used_bytes - freed >= policy.reserved_bytes
    if policy.unused_s:
        assert all(NOW_S - nodes[i].last_used_s >= policy.unused_s for i in chosen)
    gone = set(chosen)
    assert all(i in gone for i, node in enumerate(nodes) if gone.intersection(node.below))


@given(nodes=forests(), limit=st.integers(0, 400))
def test_no_more_goes_than_the_limit_asks_for(nodes: list[Node], limit: int) -> None:
    used = sum(node.size_bytes for node in nodes)

    chosen = evicted(nodes, set(), Policy(max_used_bytes=limit), Space(used, 0), now_s=NOW_S)

    freed = sum(nodes[index].size_bytes for index in chosen)
    assert used - freed <= limit
    assert not chosen or used - freed + nodes[chosen[-1]].size_bytes > limit


def test_without_limits_all_that_is_unused_goes() -> None:
    nodes = [Node("s", "a", (), 1, 10), Node("s", "b", (0,), 2, 10), Node("s", "c", (), 3, 10)]

    assert evicted(nodes, {2}, Policy(), Space(30, 0), now_s=NOW_S) == [1, 0]


def test_a_clock_that_jumped_back_keeps_things() -> None:
    nodes = [Node("s", "future", (), NOW_S + 500, 10)]

    assert evicted(nodes, set(), Policy(unused_s=60), Space(10, 0), now_s=NOW_S) == []
