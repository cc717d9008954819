"""builder.cli.session: failures of several things, one after the other."""

import os

import pytest

from builder.cli.session import Session
from builder.engine.settings import Settings
from builder.errors import Cancelled, StartError, UsageError


def test_after_a_failure_things_go_on() -> None:
    receiving, sending = os.pipe()
    session = Session(Settings("/nonexistent"), {}, stderr=sending)
    done = []

    for name in ("a", "b", "c"):
        with session.going_on():
            if name == "b":
                raise UsageError("b is \x1b odd", fix="take another")
            done.append(name)

    assert done == ["a", "c"]
    assert session.status == UsageError.exit_status
    assert os.read(receiving, 1000) == b"error: b is \\x1b odd\n  fix: take another\n"
    os.close(receiving)
    os.close(sending)


def test_the_last_failure_decides_the_status() -> None:
    session = Session(Settings("/nonexistent"), {}, stderr=-1)

    for error in (UsageError("x"), StartError("y", status=127)):
        with session.going_on():
            raise error

    assert session.status == 127


def test_nothing_goes_on_after_an_interrupt() -> None:
    session = Session(Settings("/nonexistent"), {})

    with pytest.raises(Cancelled), session.going_on():
        raise Cancelled("stop")

    assert session.status == 0
