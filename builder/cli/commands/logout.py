"""`builder logout`: forget the credentials of a registry."""

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session
from builder.engine.registry_api import Access

COMMAND = Command(
    name="logout",
    summary="Forget the credentials of a registry.",
    arguments=(Argument("SERVER", minimum=0),),
    options=(value("--authfile", "PATH", help="where they are (default: ~/.docker/config.json)"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Forget them; that there were none is said, and no failure."""
    registry = arguments.words[0] if arguments.words else ""
    with session.engine() as engine:
        was_known = engine.logout(registry, Access(auth_file=arguments.value("authfile")))
    shown = registry or "https://index.docker.io/v1/"
    if was_known:
        session.print(f"Removing login credentials for {shown}")
    else:
        session.print(f"Not logged in to {shown}")
    return 0
