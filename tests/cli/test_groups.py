"""builder.cli.groups: the words of docker's management forms lead to modules."""

import pytest

from builder.cli import groups
from builder.cli.groups import Target


@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("build -t x .", "build"), ("image build .", "build"), ("buildx build .", "build"),
        ("builder build .", "build"), ("image ls", "images"), ("image list", "images"),
        ("image rm x", "rmi"), ("container run x", "run"), ("image inspect x", "image_inspect"),
        ("inspect x", "inspect"),
    ],
)  # fmt: skip
def test_forms_lead_to_one_module(words: str, module: str) -> None:
    target = groups.resolve(words.split())

    assert target is not None
    assert target.module == module


def test_the_words_of_the_command_are_taken_off() -> None:
    assert groups.resolve(["image", "tag", "a", "b"]) == Target("tag", ("image", "tag"), ("a", "b"))
    assert groups.resolve(["tag", "a"]) == Target("tag", ("tag",), ("a",))


@pytest.mark.parametrize(
    "words", ["", "nothing", "image", "image nothing", "image_inspect x", "__init__", "../x", "-x"]
)
def test_other_words_lead_nowhere(words: str) -> None:
    assert groups.resolve(words.split()) is None


@pytest.mark.parametrize("module", [*groups.top_level(), *groups.modules_of_groups()])
def test_every_command_is_named_like_its_module(module: str) -> None:
    command, run = groups.implementation(module)

    assert command.name.replace(" ", "_") == module
    assert command.summary.endswith((".", ")"))
    assert callable(run)
    keys = [option.key for option in command.options]
    names = [name for option in command.options for name in option.names]
    assert len(keys) == len(set(keys))
    assert len(names) == len(set(names))
