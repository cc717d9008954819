"""builder.progress.writer: a slow reader delays nobody, and a gone one is forgotten."""

import os
import threading
import time
from collections.abc import Callable

from builder.progress.writer import Writer


def test_everything_is_written_in_order() -> None:
    receiving, sending = os.pipe()
    writer = Writer(sending)

    for number in range(1000):
        writer.write(b"%d\n" % number)
    writer.close()
    os.close(sending)

    with open(receiving, "rb") as reader:
        assert reader.read() == b"".join(b"%d\n" % number for number in range(1000))


def test_a_reader_that_sleeps_stalls_nobody_and_loses_only_log_lines() -> None:
    receiving, sending = os.pipe()
    writer = Writer(sending, backlog_bytes=1 << 16)

    begun = time.monotonic()
    for _ in range(500):
        writer.write(b"x" * 1023 + b"\n", is_log=True)
    writer.write(b"the end\n")
    assert time.monotonic() - begun < 5

    with open(receiving, "rb", closefd=True) as reader:
        writer_done = _closed_in_thread(writer, sending)
        content = reader.read()
        writer_done()
    lines = content.splitlines()
    notices = [int(line[1:].split()[0]) for line in lines if line.startswith(b"[")]
    assert lines[-1] == b"the end"
    assert notices
    assert lines.count(b"x" * 1023) + sum(notices) == 500


def _closed_in_thread(writer: Writer, descriptor: int) -> Callable[[], None]:
    def close() -> None:
        writer.close()
        os.close(descriptor)

    thread = threading.Thread(target=close)
    thread.start()
    return thread.join


def test_a_gone_reader_is_no_error() -> None:
    receiving, sending = os.pipe()
    os.close(receiving)
    writer = Writer(sending)

    writer.write(b"lost\n")
    writer.write(b"lost\n")
    writer.close()
    os.close(sending)


def test_a_descriptor_that_does_not_block_is_waited_for() -> None:
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    writer = Writer(sending)
    content = b"x" * (1 << 20)

    writer.write(content)
    with open(receiving, "rb") as reader:
        done = _closed_in_thread(writer, sending)
        assert reader.read() == content
        done()
