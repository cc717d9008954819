"""The warnings of a build as they stand at its end: together, each with its place."""

from collections.abc import Sequence

from builder.text import visible


def grouped(warnings: Sequence[str]) -> list[str]:
    """Give the lines to show; none if there is nothing to warn of."""
    if not warnings:
        return []
    found = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    heading = f" {found} found (use --check to see the lines):"
    return [heading, *(f" - {visible(warning)}" for warning in warnings)]
