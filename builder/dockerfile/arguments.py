"""Global arguments: those declared before the first FROM, and the automatic ones."""

from collections.abc import Iterable, Mapping

from builder.dockerfile.expansion import in_place
from builder.dockerfile.instructions import Arg
from builder.dockerfile.words import SHELL


def global_args(
    declared: Iterable[Arg], automatic: Mapping[str, str], given: Mapping[str, str], escape: str
) -> dict[str, str]:
    """Give the values that FROM lines see; a later ARG sees the earlier ones.

    Arguments without a value are left out.
    """
    values = dict(automatic)
    style = SHELL._replace(escape=escape)
    for instruction in declared:
        for name, default in instruction.pairs:
            if name in given:
                values[name] = given[name]
            elif default is not None:
                values[name] = in_place(default, values, style, instruction.span).text
    return values


def declared_names(declared: Iterable[Arg]) -> list[str]:
    """List the names of global arguments in order, with or without a value."""
    return [name for instruction in declared for name, _default in instruction.pairs]
