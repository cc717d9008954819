"""Questions about a Dockerfile that build nothing: its warnings, a target's outline, its targets.

Each answer is a text for people, or a JSON document with the fields of the reference builder.

Spec: BuildKit, frontend/subrequests: lint, outline, targets.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from builder.dockerfile import outline as outlines
from builder.dockerfile.lower import Checked, Warning, lint  # noqa: A004 - the word that users see
from builder.dockerfile.outline import Demand, Outline, Target
from builder.dockerfile.parser import Dockerfile
from builder.dockerfile.request import BuildRequest as LoweringRequest
from builder.dockerfile.request import Needs, Pins
from builder.engine.request import Built, Call
from builder.errors import BuilderError, render
from builder.source import Source, Span, excerpt, last_line

_GAP = "   "
_Found = TypeVar("_Found")
Resolve = Callable[[Needs, Pins], Pins]


def answer(
    call: Call,
    dockerfile: Dockerfile,
    requests: Sequence[LoweringRequest],
    resolve: Resolve,
    *,
    is_json: bool,
) -> Built:
    """Answer a call; the status is 1 if a check found something, as the reference has it."""
    request = requests[0]
    match call:
        case "outline":
            found = _resolved(lambda pins: outlines.outline(dockerfile, request, pins), resolve)
            outline_text = _outline_json if is_json else _outline_text
            return Built(report=outline_text(found, dockerfile.source))
        case "targets":
            targets = outlines.targets(dockerfile)
            targets_text = _targets_json if is_json else _targets_text
            return Built(report=targets_text(targets, dockerfile.source))
        case _:
            checked = [
                _resolved(lambda pins, one=one: lint(dockerfile, one, pins), resolve)  # type: ignore[misc]
                for one in requests
            ]
            return _checked(checked, dockerfile.source, is_json=is_json)


def unparsed(error: BuilderError, source: Source) -> Built:
    """Answer a check of a file that is no Dockerfile, in JSON."""
    return _checked([Checked((), error)], source, is_json=True)


def _resolved(work: Callable[[Pins], _Found | Needs], resolve: Resolve) -> _Found:
    pins = Pins()
    while isinstance(result := work(pins), Needs):
        pins = resolve(result, pins)
    return result


def _checked(found: Sequence[Checked], source: Source, *, is_json: bool) -> Built:
    warnings = tuple(dict.fromkeys(w for checked in found for w in checked.warnings))
    error = next((checked.error for checked in found if checked.error), None)
    is_broken = error is not None or any(not warning.is_own for warning in warnings)
    write = _check_json if is_json else _check_text
    return Built(report=write(warnings, error, source), status=int(is_broken))


def _check_text(warnings: Sequence[Warning], error: BuilderError | None, _source: Source) -> str:
    parts = []
    for warning in warnings:
        kind = "NOTE" if warning.is_own else "WARNING"
        parts.append(f"{kind}: {warning.rule}\n{warning.message}\n{excerpt(warning.span)}\n")
    if error is not None:
        parts.append(render(error))
    elif warnings:
        parts.append(f"Check complete, {_count(len(warnings))} been found!")
    else:
        parts.append("Check complete, no warnings found.")
    return "\n".join(parts)


def _count(number: int) -> str:
    return "1 warning has" if number == 1 else f"{number} warnings have"


def _check_json(warnings: Sequence[Warning], error: BuilderError | None, source: Source) -> str:
    document: dict[str, object] = {
        "warnings": [
            {
                "ruleName": warning.rule,
                "description": warning.description,
                "detail": warning.message,
                "location": _location(warning.span),
            }
            for warning in warnings
        ],
        "sources": [_source(source)],
    }
    if error is not None:
        failure: dict[str, object] = {"message": error.what}
        if error.span is not None:
            failure["location"] = _location(error.span)
        document["buildError"] = failure
    return _dumped(document)


def _outline_text(found: Outline, _source: Source) -> str:
    lines = [f"TARGET:      {found.name or '(default)'}"]
    if found.description:
        lines.append(f"DESCRIPTION: {found.description}")
    if found.arguments:
        rows = [(a.name, a.value or "", a.description) for a in found.arguments]
        lines += ["", *_table(("BUILD ARG", "VALUE", "DESCRIPTION"), rows)]
    for heading, demands in (("SECRET", found.secrets), ("SSH", found.agents)):
        if demands:
            rows_of_demands = [(d.name, "true" if d.is_required else "") for d in demands]
            lines += ["", *_table((heading, "REQUIRED"), rows_of_demands)]
    if found.caches:
        lines += ["", *_table(("CACHE",), [(demand.name,) for demand in found.caches])]
    return "\n".join(lines)


def _outline_json(found: Outline, source: Source) -> str:
    arguments = [
        {
            "name": argument.name,
            "description": argument.description,
            "value": argument.value or "",
            "location": _location(argument.span),
        }
        for argument in found.arguments
    ]
    lists = {
        "args": arguments,
        "secrets": [_demand(demand) for demand in found.secrets],
        "ssh": [_demand(demand) for demand in found.agents],
        "cache": [{"ID": demand.name, **_placed(demand.span)} for demand in found.caches],
    }
    document: dict[str, object] = {"name": found.name, "description": found.description}
    document |= {name: items for name, items in lists.items() if items}
    text = source.text.encode("utf-8", "surrogateescape")
    document["sources"] = [base64.b64encode(text).decode()]
    return _dumped({name: value for name, value in document.items() if value})


def _targets_text(targets: Iterable[Target], _source: Source) -> str:
    rows = []
    for target in targets:
        name = " ".join(filter(None, (target.name, "(default)" if target.is_default else "")))
        if name:
            rows.append((name, target.description))
    return "\n".join(_table(("TARGET", "DESCRIPTION"), rows))


def _targets_json(targets: Iterable[Target], source: Source) -> str:
    listed = [
        {
            "name": target.name,
            "default": target.is_default,
            "description": target.description,
            "base": target.base,
            "platform": target.platform,
            "location": _location(target.span),
        }
        for target in targets
    ]
    kept = [{name: value for name, value in one.items() if value} for one in listed]
    text = source.text.encode("utf-8", "surrogateescape")
    return _dumped({"targets": kept, "sources": [base64.b64encode(text).decode()]})


def _demand(demand: Demand) -> dict[str, object]:
    required: dict[str, object] = {"required": True} if demand.is_required else {}
    return {"name": demand.name, **required, **_placed(demand.span)}


def _placed(span: Span | None) -> dict[str, object]:
    return {} if span is None else {"location": _location(span)}


def _location(span: Span) -> dict[str, object]:
    lines = {"start": {"line": span.start.line}, "end": {"line": last_line(span)}}
    return {"ranges": [lines]}


def _source(source: Source) -> dict[str, object]:
    text = source.text.encode("utf-8", "surrogateescape")
    return {
        "filename": source.name,
        "language": "Dockerfile",
        "data": base64.b64encode(text).decode(),
    }


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [heading, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _dumped(document: object) -> str:
    import json

    return json.dumps(document, indent=2, ensure_ascii=False)
