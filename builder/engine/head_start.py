"""Layers that a build is to push leave while they are being compressed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.exporters.output import Output

if TYPE_CHECKING:
    from builder.engine.local import LocalEngine


@contextmanager
def head_start(engine: "LocalEngine", output: Output, step: str) -> Iterator[None]:
    """Send the layers made in the block to the first place that the output is pushed to.

    How far it is belongs to the step.

    Not those that are about to be written once more, for the sake of times or of a compression.
    """
    is_final = not output.is_compression_forced and not output.is_rewriting_timestamps
    if not output.is_pushed or not output.names or not is_final:
        yield
        return
    from builder.engine.pulls import transfer_report
    from builder.registry.ahead import Ahead

    with engine.registries() as registries:
        repository = registries.destination(output.names[0])
        report = transfer_report(engine.sink, step)
        with Ahead(engine.store.content, repository, engine.token, report):
            yield
