"""The beginning of a forerunner's process: what it loads comes from where a build's comes from."""

import gc

from builder.cli import bundle, loading


def forerun(words: list[str]) -> None:
    """Run as the forerunner that the words describe; does not return."""
    gc.disable()
    loading.install()
    bundle.install()
    from builder.engine.forerunner import run

    run(words)
