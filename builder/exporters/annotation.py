"""Annotations of an output: a key, a value, and which documents carry them.

Spec: docker buildx, `--annotation [TYPE[PLATFORM][,TYPE…]:]KEY=VALUE`; BuildKit's exporter
attributes `annotation[-TYPE][[PLATFORM]].KEY`.
"""

from collections.abc import Iterable
from typing import Literal, cast, get_args

from builder.errors import UsageError
from builder.oci.platform import Platform, normalized, parse_platform
from builder.values import NamedTuple

Scope = Literal["manifest", "index", "manifest-descriptor", "index-descriptor"]


class Annotation(NamedTuple):
    """One annotation of one kind of document; of every platform if `platform` is None."""

    scope: Scope
    platform: Platform | None
    key: str
    value: str


def parse_annotation(text: str) -> tuple[Annotation, ...]:
    """Read one `--annotation`; without a type it is the manifest's.

    Raises UsageError.
    """
    left, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"the annotation {text!r} has no value", fix="write KEY=VALUE")
    scopes, colon, key = left.partition(":")
    if colon and all(part.partition("[")[0] in get_args(Scope) for part in scopes.split(",")):
        return tuple(_annotation(part, key, value) for part in scopes.split(","))
    return (_annotation("manifest", left, value),)


def from_attribute(name: str, value: str) -> Annotation:
    """Read `annotation[-TYPE][[PLATFORM]].KEY`, an attribute of `--output`; raise UsageError."""
    rest = name.removeprefix("annotation")
    scope, dot, key = _split_key(rest)
    if not dot or (scope and scope[0] not in "-["):
        raise UsageError(f"{name!r} is not an annotation", fix="write annotation.KEY=VALUE")
    scope = scope.removeprefix("-")
    return _annotation("manifest" + scope if scope[:1] in {"", "["} else scope, key, value)


def chosen(
    annotations: Iterable[Annotation], scope: Scope, platform: Platform | None = None
) -> tuple[tuple[str, str], ...]:
    """Pick what a document of a scope and platform carries; the last of equal keys wins."""
    wanted = None if platform is None else normalized(platform)
    found = {
        annotation.key: annotation.value
        for annotation in annotations
        if annotation.scope == scope
        and (annotation.platform is None or normalized(annotation.platform) == wanted)
    }
    return tuple(sorted(found.items()))


def _split_key(text: str) -> tuple[str, str, str]:
    """Split at the first dot outside of the brackets of the platform."""
    bracket = text.find("]")
    opening = text.find("[")
    if 0 <= opening < bracket and "." not in text[:opening]:
        head, dot, key = text[bracket + 1 :].partition(".")
        return text[: bracket + 1] + head, dot, key
    return text.partition(".")


def _annotation(scope: str, key: str, value: str) -> Annotation:
    name, bracket, platform = scope.partition("[")
    if name not in get_args(Scope) or (bracket and not platform.endswith("]")):
        raise UsageError(
            f"{scope!r} is not a type of annotation", fix=f"use {', '.join(get_args(Scope))}"
        )
    if not key or not key.isprintable():
        raise UsageError("an annotation has no printable key", fix="write KEY=VALUE")
    parsed = parse_platform(platform[:-1]) if bracket else None
    return Annotation(cast("Scope", name), parsed, key, value)
