"""builder.cli.clicked: help and completion are made from the tables."""

import os

import click
import pytest

from builder.cli import clicked, groups
from builder.cli.session import Session
from builder.engine.settings import Settings


def completed(words: str) -> list[str]:
    receiving, sending = os.pipe()
    environ = {"_BUILDER_COMPLETE": "bash_complete"}
    session = Session(Settings("/nonexistent"), environ, stdout=sending)
    before = {name: os.environ.get(name) for name in ("COMP_WORDS", "COMP_CWORD")}
    os.environ.update(COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1))
    try:
        assert clicked.complete(session) == 0
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        os.close(sending)
    with open(receiving, encoding="utf-8") as reader:
        return [line.partition(",")[2] for line in reader.read().split()]


def test_commands_options_and_choices_are_completed() -> None:
    assert "build" in completed("builder bui")
    assert completed("builder build --no-") == ["--no-cache", "--no-cache-filter"]
    assert completed("builder build --progress pl") == ["plain"]
    assert {"ls", "tag"} <= set(completed("builder image "))
    assert "list" not in completed("builder image ")


def test_hidden_options_are_not_shown() -> None:
    shown = clicked.command(groups.implementation("build").command)
    text = shown.get_help(click.Context(shown, info_name="build"))

    assert "--no-cache" in text
    assert "--force-rm" not in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_code(shell: str) -> None:
    assert "_BUILDER_COMPLETE" in clicked.completion_source(shell)
