"""`builder manifest inspect`: the manifest or index that a name stands for, as it is written."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.registry_options import ACCESS_OPTIONS, access
from builder.cli.session import Session
from builder.text import visible_lines

COMMAND = Command(
    name="manifest inspect",
    summary="Show a manifest, index or list: ours, the store's, or a registry's.",
    arguments=(Argument("NAME"),),
    options=(
        flag("--raw", help="print the very bytes, of which the digest is"),
        flag("-v", "--verbose", help="for docker's command lines", is_hidden=True),
        *ACCESS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print the document."""
    import json

    [name] = arguments.words
    with session.engine() as engine:
        content = engine.manifest_bytes(name, access(arguments))
    if arguments.flag("raw"):
        session.write(content)
    else:
        session.print(visible_lines(json.dumps(json.loads(content), indent=4)))
    return 0
