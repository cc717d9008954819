from builder.graph.ops import Exec, Scratch
from builder.graph.vertex import Input, Vertex, has_wildcards
from builder.graph.walk import topological


def test_what_must_not_count_is_not_in_the_digest() -> None:
    plain = Exec(("true",), ("A=1",))
    dressed = plain._replace(proxy_env=("http_proxy=x",), cgroup_parent="/x", extra_hosts=())

    assert Vertex(plain).digest == Vertex(dressed).digest
    assert Vertex(plain).digest != Vertex(plain._replace(env=("A=2",))).digest


def test_only_the_names_of_extra_hosts_count() -> None:
    one = Exec(("true",), (), extra_hosts=(("db", "10.0.0.1"),))
    other = Exec(("true",), (), extra_hosts=(("db", "10.0.0.2"),))

    assert Vertex(one).digest == Vertex(other).digest


def test_inputs_come_before_their_users() -> None:
    base = Vertex(Scratch())
    left, right = Vertex(Exec(("l",), ()), (Input(base),)), Vertex(Exec(("r",), ()), (Input(base),))
    top = Vertex(Exec(("t",), ()), (Input(left), Input(right)))

    order = topological([top])

    assert order[0] is base
    assert order[-1] is top
    assert len(order) == 4


def test_escaped_wildcards_are_none() -> None:
    assert has_wildcards("a*")
    assert has_wildcards("[a]")
    assert has_wildcards(r"a\\?")
    assert not has_wildcards(r"a\*")
    assert not has_wildcards("a\\")
