"""From a reference to the hosts that serve it: mirrors, rewritten places, TLS and its exceptions.

Plain HTTP is spoken with loopback addresses and with hosts that the user declared insecure, with
nobody else, whatever a server says.
"""

from collections.abc import Mapping, Sequence

from builder.errors import RegistryError
from builder.oci.reference import DEFAULT_DOMAIN, Reference
from builder.registry.certificates import Tls, tls_of
from builder.values import NamedTuple

HUB_HOST = "registry-1.docker.io"
HUB_CREDENTIALS = "https://index.docker.io/v1/"


class Mirror(NamedTuple):
    """A place that serves copies: a host with its scheme if one was written, and a path."""

    location: str
    is_insecure: bool = False


class Rule(NamedTuple):
    """What a configuration file says of all references that begin with `prefix`."""

    prefix: str
    location: str = ""
    is_insecure: bool = False
    is_blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()
    ca: str = ""
    cert: str = ""
    key: str = ""
    token_hosts: tuple[str, ...] = ()
    """Origins such as `http://auth.example:5001` that may see this registry's password."""


class Endpoint(NamedTuple):
    """One place to send requests for a repository to."""

    host: str
    repository: str
    schemes: tuple[str, ...] = ("https",)
    """Tried in this order at the first contact."""
    tls: Tls = Tls()
    credentials: str = ""
    """The name under which credentials for it are kept."""
    is_mirror: bool = False
    token_hosts: tuple[str, ...] = ()


class HostRules:
    """The rules of all configuration files; the first source that knows a name decides."""

    def __init__(
        self,
        sources: Sequence[Sequence[Rule]],
        insecure: Sequence[str] = (),
        certificates: Sequence[str] = (),
        *,
        is_verified: bool = True,
    ) -> None:
        """Keep the rules. `is_verified` false makes every host insecure."""
        self._sources = sources
        self._insecure = insecure
        self._certificates = certificates
        self._is_verified = is_verified

    def endpoints(self, reference: Reference, *, is_push: bool = False) -> tuple[Endpoint, ...]:
        """List where a repository may be found, in order; pushing goes to the registry itself.

        Raises RegistryError.
        """
        rule = self._rule(reference.name) or Rule(reference.domain)
        if rule.is_blocked:
            raise RegistryError(
                f"{reference.name} is blocked by the configuration of registries",
                fix="remove `blocked` from registries.toml or registries.conf",
            )
        rest = reference.name[len(rule.prefix) :] if reference.name.startswith(rule.prefix) else ""
        own = self._own(reference, rule, rest)
        if is_push:
            return (own,)
        mirrors = (self._mirror(mirror, reference, rest) for mirror in rule.mirrors)
        return (*mirrors, own)

    def registry(self, domain: str) -> Endpoint:
        """Give the registry itself, for what concerns no repository."""
        return self.endpoints(Reference(domain, ""), is_push=True)[0]

    def _own(self, reference: Reference, rule: Rule, rest: str) -> Endpoint:
        if rule.location:
            host, _, path = f"{rule.location}{rest}".partition("/")
            return self._endpoint(host, path, rule, credentials=host)
        if reference.domain == DEFAULT_DOMAIN:
            return self._endpoint(HUB_HOST, reference.repository, rule, credentials=HUB_CREDENTIALS)
        return self._endpoint(
            reference.domain, reference.repository, rule, credentials=reference.domain
        )

    def _mirror(self, mirror: Mirror, reference: Reference, rest: str) -> Endpoint:
        scheme, separator, place = mirror.location.rpartition("://")
        place = place.rstrip("/")
        host, slash, path = place.partition("/")
        path = f"{path}{rest}" if slash else rest.lstrip("/") or reference.repository
        rule = self._rule(host) or Rule(host)
        is_insecure = mirror.is_insecure or scheme == "http"
        endpoint = self._endpoint(
            host, path, rule._replace(is_insecure=rule.is_insecure or is_insecure), credentials=host
        )
        if separator:
            endpoint = endpoint._replace(schemes=(scheme,))
        return endpoint._replace(is_mirror=True)

    def _endpoint(self, host: str, repository: str, rule: Rule, *, credentials: str) -> Endpoint:
        is_insecure = rule.is_insecure or not self._is_verified or self._is_listed(host)
        is_local = is_loopback(host)
        tls = tls_of(host, self._certificates)
        if rule.ca:
            tls = tls._replace(authorities=(*tls.authorities, rule.ca))
        if rule.cert:
            tls = tls._replace(cert=rule.cert, key=rule.key)
        is_verified = not is_insecure and not (is_local and not tls.authorities)
        schemes: tuple[str, ...] = ("https",)
        if is_local:
            schemes = ("http", "https")
        elif is_insecure:
            schemes = ("https", "http")
        return Endpoint(
            host, repository, schemes, tls._replace(is_verified=is_verified), credentials,
            token_hosts=rule.token_hosts,
        )  # fmt: skip

    def _rule(self, name: str) -> Rule | None:
        for source in self._sources:
            fitting = [rule for rule in source if _fits(rule.prefix, name)]
            if fitting:
                return max(fitting, key=lambda rule: len(rule.prefix))
        return None

    def _is_listed(self, host: str) -> bool:
        return any(_is_within(host, listed) for listed in self._insecure)


def rule_of(prefix: str, value: Mapping[str, object], where: str) -> Rule:
    """Read one table of our own registries.toml; raise RegistryError for what it cannot mean."""
    known = {
        "location": str, "insecure": bool, "blocked": bool, "mirrors": list, "ca": str,
        "cert": str, "key": str, "token-hosts": list,
    }  # fmt: skip
    for name, member in value.items():
        if not isinstance(member, known.get(name, ())):
            raise RegistryError(f"{where}: {name!r} of {prefix!r} is unknown or of the wrong type")
    return Rule(
        prefix,
        str(value.get("location", "")),
        bool(value.get("insecure")),
        bool(value.get("blocked")),
        tuple(Mirror(text) for text in _texts(value.get("mirrors"))),
        str(value.get("ca", "")),
        str(value.get("cert", "")),
        str(value.get("key", "")),
        _texts(value.get("token-hosts")),
    )


def is_loopback(host: str) -> bool:
    """Whether a host (with or without port) is this machine, by its name alone."""
    name = bare_host(host)
    if name in {"localhost", "::1"} or name.endswith(".localhost"):
        return True
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)  # noqa: PLR2004 - IPv4


def bare_host(host: str) -> str:
    """Take port and brackets off."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _fits(prefix: str, name: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return name == prefix or name.startswith((f"{prefix}/", f"{prefix}:"))


def _is_within(host: str, listed: str) -> bool:
    """Whether a host is one that Docker's list names: a host, a host with port, or a network."""
    if listed in {host, bare_host(host)}:
        return True
    if "/" not in listed:
        return False
    import ipaddress

    try:
        return ipaddress.ip_address(bare_host(host)) in ipaddress.ip_network(listed, strict=False)
    except ValueError:
        return False


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
