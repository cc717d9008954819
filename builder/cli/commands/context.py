"""`builder context`: what is in the build context, what is kept out, and what nothing reads."""

from typing import TYPE_CHECKING

from builder.cli.commands.build import COMMAND as BUILD
from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session
from builder.errors import NotFound

if TYPE_CHECKING:
    from builder.engine.context_files import ContextFile, ContextFiles

COMMAND = Command(
    name="context",
    summary="Show the files of a build context, what is ignored, and what no step reads.",
    arguments=(Argument("PATH"),),
    options=(
        flag("--all", help="list every file, not only the largest"),
        value("--format", "FORMAT", help="text or json", choices=("text", "json")),
        value("--why", "FILE", help="say why one file is in the context or not"),
        *(option._replace(is_hidden=True) for option in BUILD.options),
    ),
    description="Takes the options of `builder build`, of which those count that choose files.",
)

SHOWN = 20


def run(arguments: Arguments, session: Session) -> int:
    """Look, and print."""
    from builder.cli.build_request import build_request

    request = build_request(arguments, session)
    with session.engine() as engine:
        found = engine.context_files(request)
    why = arguments.value("why")
    if why is not None:
        _print_why(why, found, arguments, session)
    elif arguments.value("format") == "json":
        session.print(_as_json(found))
    else:
        _print_all(found, session, is_all=arguments.flag("all"))
    return 0


def _print_all(found: "ContextFiles", session: Session, *, is_all: bool) -> None:
    from builder.cli.tables import aligned, human_size
    from builder.text import visible

    shown = found.shown
    total = human_size(sum(file.size_bytes for file in shown))
    session.print(f"{len(shown)} files, {total} in the context\n")
    rows = [["SIZE", "FILE", "READ BY"]]
    for file in shown if is_all else shown[:SHOWN]:
        reader = visible(file.readers[0]) if file.readers else "nothing"
        more = f" and {len(file.readers) - 1} more" if len(file.readers) > 1 else ""
        rows.append([human_size(file.size_bytes), visible(file.path), reader + more])
    session.print("\n".join(aligned(rows)))
    if not is_all and len(shown) > SHOWN:
        session.print(f"and {len(shown) - SHOWN} more; --all lists them")
    if found.hidden:
        session.print("\nKept out by the ignore file:")
        lines = [
            [human_size(one.size_bytes), f"{one.files} files", visible(one.pattern)]
            for one in found.hidden
        ]
        session.print("\n".join(aligned(lines)))
    if found.suggestions:
        session.print("\nRead by no step; these lines in .dockerignore would keep it out:")
        shown_lines = found.suggestions if is_all else found.suggestions[:SHOWN]
        session.print("\n".join(visible(one.line) for one in shown_lines))


def _print_why(path: str, found: "ContextFiles", arguments: Arguments, session: Session) -> None:
    """Answer for one file, or for all below a directory."""
    from builder.text import visible

    wanted = "/".join(part for part in path.split("/") if part not in {"", "."})
    files = [f for f in found.files if f.path == wanted or f.path.startswith(f"{wanted}/")]
    if not files:
        raise NotFound(f"there is no file {path!r} below the context directory")
    if arguments.value("format") == "json":
        import json

        session.print(json.dumps([_facts(file) for file in files], indent=2))
        return
    for file in files:
        session.print(f"{visible(file.path)}: {_reason(file)}")


def _reason(file: "ContextFile") -> str:
    from builder.text import visible

    if file.is_ignored:
        return f"kept out by the pattern {visible(file.pattern)}"
    place = f"shown again by {visible(file.pattern)}" if file.pattern else "no pattern matches it"
    if not file.readers:
        return f"in the context, {place}; no COPY, ADD or bind mount reads it"
    return f"in the context, {place}; read by {visible(', '.join(file.readers))}"


def _facts(file: "ContextFile") -> dict[str, object]:
    return {
        "path": file.path,
        "size": file.size_bytes,
        "ignored": file.is_ignored,
        "pattern": file.pattern,
        "readers": list(file.readers),
    }


def _as_json(found: "ContextFiles") -> str:
    import json

    facts = {
        "files": [_facts(file) for file in found.files],
        "hidden": [one._asdict() for one in found.hidden],
        "suggestions": [one._asdict() for one in found.suggestions],
    }
    return json.dumps(facts, indent=2)
