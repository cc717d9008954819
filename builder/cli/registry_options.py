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

ENDS_OPTIONS: tuple[Option, ...] = tuple(
    option
    for end, name in (("src", "source"), ("dest", "destination"))
    for option in (
        value(f"--{end}-authfile", "PATH", help=f"credentials for the {name}"),
        value(f"--{end}-creds", "USER:PASSWORD", help=f"credentials for the {name}, this once"),
        flag(f"--{end}-tls-verify", help=f"as --tls-verify, for the {name} only", is_on=True),
    )
)


def access(arguments: Arguments) -> Access:
    """Read the options; raise UsageError."""
    return Access(
        arguments.flag("tls-verify"), arguments.value("authfile"), login_of(arguments, "creds")
    )


def access_of(arguments: Arguments, end: str) -> Access:
    """Read the options of one end of a copy, `src` or `dest`; the general ones hold for both."""
    general = access(arguments)
    return Access(
        general.is_verified and arguments.flag(f"{end}-tls-verify"),
        arguments.value(f"{end}-authfile") or general.auth_file,
        login_of(arguments, f"{end}-creds") or general.login,
    )


def login_of(arguments: Arguments, name: str) -> tuple[str, str] | None:
    """Read user and password; raise UsageError."""
    given = arguments.value(name)
    if given is None:
        return None
    user, colon, password = given.partition(":")
    if not user or not colon:
        raise UsageError(f"--{name} takes USER:PASSWORD")
    return user, password


def untagged(name: str) -> str:
    """Give the name of a repository for `--all-tags`; raise UsageError if it says which tag."""
    from builder.oci.reference import parse_reference
    from builder.oci.transport import REGISTRY

    plain = name.removeprefix(REGISTRY)
    reference = parse_reference(plain)
    if reference.digest is not None or ":" in plain.rpartition("/")[2]:
        raise UsageError(
            f"{name!r} names one tag, and --all-tags takes all",
            fix=f"write {reference._replace(tag='', digest=None).familiar}",
        )
    return plain


def platform(arguments: Arguments) -> Platform | None:
    """Read `--platform`."""
    wanted = arguments.value("platform")
    return None if wanted is None else parse_platform(wanted)
