"""`builder version`: say what is running."""

from builder import __version__
from builder.cli.options import Arguments, Command, value
from builder.cli.session import Session

COMMAND = Command(
    name="version",
    summary="Show the version of builder and of what it stands on.",
    options=(value("-f", "--format", "FORMAT", help="`json`, or a Go template"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print the versions."""
    facts = _facts()
    template = arguments.value("format")
    if template == "json":
        from builder.oci.json import dumps

        session.print(dumps(facts).decode())
    elif template:
        from builder.cli.templates import Template

        session.print(Template(template).render(facts))
    else:
        for name, text in facts["Client"].items():
            session.print(f"{name + ':':<12} {text}")
    return 0


def _facts() -> dict[str, dict[str, str]]:
    import os
    import sys

    system = os.uname()
    return {
        "Client": {
            "Version": __version__,
            "Python": ".".join(map(str, sys.version_info[:3])),
            "Os": system.sysname.lower(),
            "Arch": system.machine,
            "Kernel": system.release,
        }
    }
