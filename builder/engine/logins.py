"""Log in: a registry is asked before anything is kept."""

from builder.errors import AuthenticationError, UsageError
from builder.oci.reference import DEFAULT_DOMAIN, parse_reference
from builder.registry.client import Registries
from builder.registry.credentials import Credentials

_HUB_NAMES = frozenset({"", "docker.io", "index.docker.io", "registry-1.docker.io"})


def login(registries: Registries, registry: str, credentials: Credentials) -> str:
    """Check credentials and keep them; AuthenticationError if they are refused."""
    session = registries.registry(domain_of(registry))
    response = session.request("GET", "/v2/")
    session.transport.finish(response)
    elsewhere = session.authorizer.withheld_from
    if elsewhere:
        raise AuthenticationError(
            f"the token service {elsewhere[:200]!r} is another host without TLS: the password was"
            " not sent there",
            fix=f'allow it: token-hosts = ["{elsewhere[:200]}"] in registries.toml',
        )
    return registries.credentials.save(session.endpoint.credentials, credentials)


def credential_name(registries: Registries, registry: str) -> str:
    """Give the name under which a registry's credentials are kept."""
    return registries.registry(domain_of(registry)).endpoint.credentials


def domain_of(registry: str) -> str:
    """Read a registry's host, which may be written as a URL; Docker Hub's by default.

    Raises UsageError.
    """
    host = registry.partition("://")[2] or registry
    host = host.partition("/")[0]
    if host in _HUB_NAMES:
        return DEFAULT_DOMAIN
    try:
        return parse_reference(f"{host}/x").domain if ":" in host or "." in host else host
    except UsageError:
        raise UsageError(f"{registry[:200]!r} is not a registry", fix="write HOST[:PORT]") from None
