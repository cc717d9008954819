from builder.dockerfile.inputs import Inputs
from builder.graph.ops import Scratch
from builder.graph.vertex import Input, Selector, Vertex


def test_parts_of_one_vertex_share_an_input() -> None:
    root, source = Vertex(Scratch()), Vertex(Scratch())
    inputs = Inputs(root)

    numbers = [inputs.part(source, Selector(path)) for path in ("/a", "/b", "/a")]

    assert numbers == [1, 1, 1]
    assert inputs.done() == (Input(root), Input(source, (Selector("/a"), Selector("/b"))))


def test_the_root_may_be_read_in_parts_as_well() -> None:
    root = Vertex(Scratch())
    inputs = Inputs(root)

    number = inputs.part(root, Selector("/a"))

    assert number == 1
    assert inputs.done() == (Input(root), Input(root, (Selector("/a"),)))


def test_a_whole_input_stays_whole() -> None:
    root, source = Vertex(Scratch()), Vertex(Scratch())
    inputs = Inputs(root)
    inputs.whole(source)

    inputs.part(source, Selector("/a"))

    assert inputs.done()[1] == Input(source)
