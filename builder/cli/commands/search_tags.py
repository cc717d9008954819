"""`builder search-tags`: the tags of a repository."""

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.registry_options import ACCESS_OPTIONS, access
from builder.cli.session import Session
from builder.cli.tables import Column, show
from builder.oci.transport import REGISTRY

MAX_TAGS = 100_000

COMMAND = Command(
    name="search-tags",
    summary="List the tags of a repository in its registry.",
    arguments=(Argument("NAME"),),
    options=(
        value("--format", "FORMAT", help="json, or a Go template"),
        value("--limit", "NUMBER", help="list at most so many"),
        *ACCESS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """List the tags, in the registry's order."""
    from builder.cli.values import integer

    text = arguments.value("limit")
    limit = MAX_TAGS if text is None else integer(text, "--limit", minimum=1)
    name = arguments.words[0].removeprefix(REGISTRY)
    with session.engine() as engine:
        found = engine.tags(name, limit=limit, access=access(arguments))
    rows = [{"Name": name, "Tag": tag} for tag in found]
    columns = (Column("NAME", "Name"), Column("TAG", "Tag"))
    show(session, rows, columns, format=arguments.value("format"))
    return 0
