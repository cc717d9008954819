"""Options of all commands that speak with registries."""

from builder.cli.options import Arguments, Option, flag, value
from builder.engine.registry_api import Access
from builder.errors import UsageError
from builder.oci.platform import Platform, parse_platform

ACCESS_OPTIONS: tuple[Option, ...] = (
    value("--authfile", "PATH", help="credentials (default: ~/.docker/config.json)"),
    value("--creds", "USER:PASSWORD", help="credentials for this command only"),
    flag("--tls-verify", help="check certificates, and refuse plain HTTP", is_on=True),
)


def access(arguments: Arguments) -> Access:
    """Read the options; raise UsageError."""
    login = None
    given = arguments.value("creds")
    if given is not None:
        user, colon, password = given.partition(":")
        if not user or not colon:
            raise UsageError("--creds takes USER:PASSWORD")
        login = (user, password)
    return Access(arguments.flag("tls-verify"), arguments.value("authfile"), login)


def platform(arguments: Arguments) -> Platform | None:
    """Read `--platform`."""
    wanted = arguments.value("platform")
    return None if wanted is None else parse_platform(wanted)
