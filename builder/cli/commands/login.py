"""`builder login`: credentials for a registry, checked before they are kept."""

import os

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session
from builder.engine.registry_api import Access
from builder.errors import UsageError

_STDIN = 0
_MAX_PASSWORD_BYTES = 64 << 10

COMMAND = Command(
    name="login",
    summary="Log in to a registry.",
    arguments=(Argument("SERVER", minimum=0),),
    options=(
        value("-u", "--username", "NAME", help="who you are to the registry"),
        value("-p", "--password", "PASSWORD", help="the password (seen by all: use a pipe)"),
        flag("--password-stdin", help="read the password from standard input"),
        value("--authfile", "PATH", help="where to keep it (default: ~/.docker/config.json)"),
        flag("--tls-verify", help="check certificates, and refuse plain HTTP", is_on=True),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask the registry, then keep the credentials."""
    registry = arguments.words[0] if arguments.words else ""
    if arguments.value("password") is not None:
        session.warn("a password on the command line is insecure: use --password-stdin")
    asked = _asked(arguments)
    reach = Access(arguments.flag("tls-verify"), arguments.value("authfile"), asked)
    with session.engine() as engine:
        engine.login(registry, reach)
    session.print("Login Succeeded")
    return 0


def _asked(arguments: Arguments) -> tuple[str, str]:
    """Get name and password: from options, standard input, or the terminal."""
    name, password = arguments.value("username"), arguments.value("password")
    if arguments.flag("password-stdin"):
        if password is not None:
            raise UsageError("--password and --password-stdin exclude each other")
        if not name:
            raise UsageError("--password-stdin needs --username")
        return name, _piped()
    if (not name or password is None) and not os.isatty(_STDIN):
        raise UsageError(
            "a password is wanted, but standard input is no terminal", fix="use --password-stdin"
        )
    if not name:
        name = input("Username: ").strip()
    if password is None:
        from getpass import getpass

        password = getpass("Password: ")
    if not name or not password:
        raise UsageError("name and password are both needed")
    return name, password


def _piped() -> str:
    content = bytearray()
    while len(content) <= _MAX_PASSWORD_BYTES and (piece := os.read(_STDIN, 4096)):
        content += piece
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except ValueError:
        raise UsageError("the password on standard input is not UTF-8") from None
    if not password:
        raise UsageError("standard input holds no password")
    return password
