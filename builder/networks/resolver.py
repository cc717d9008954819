"""The text of a container's /etc/resolv.conf, /etc/hosts and /etc/hostname.

A name server on the host's loopback cannot be reached from another network namespace. On a host
that runs systemd-resolved the servers behind it are known; else public ones are the way out.
"""

from collections.abc import Iterable, Sequence

from builder.values import NamedTuple

HOST_RESOLV = "/etc/resolv.conf"
UPSTREAM_RESOLV = "/run/systemd/resolve/resolv.conf"
HOST_HOSTS = "/etc/hosts"
EMBEDDED_SERVER = "127.0.0.11"
PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")
HOST_GATEWAY = "host-gateway"
_LOCAL_LINES = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class Resolution(NamedTuple):
    """How names are looked up: the lines of a resolv.conf."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def host_resolution() -> Resolution:
    """Read what a container can use of the host's settings."""
    found = parse(_read(HOST_RESOLV))
    usable = reachable(found.servers)
    if not usable:
        usable = reachable(parse(_read(UPSTREAM_RESOLV)).servers)
    return found._replace(servers=usable or PUBLIC_SERVERS)


def host_resolv_conf() -> bytes:
    """Give the host's own file, for who shares its network."""
    return _read(HOST_RESOLV).encode("utf-8", "replace")


def parse(text: str) -> Resolution:
    """Read a resolv.conf; unknown lines are left out."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":  # noqa: PLR2004 - a keyword and a value
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in {"search", "domain"}:
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return Resolution(tuple(servers), search, tuple(options))


def reachable(servers: Iterable[str]) -> tuple[str, ...]:
    """Leave out name servers on loopback, or on a link of the host's."""
    return tuple(s for s in servers if not s.startswith("127.") and s != "::1" and "%" not in s)


def resolv_conf(resolution: Resolution) -> str:
    """Write a resolv.conf."""
    lines = [f"nameserver {server}" for server in resolution.servers]
    if resolution.search and resolution.search != (".",):
        lines.append(f"search {' '.join(resolution.search)}")
    if resolution.options:
        lines.append(f"options {' '.join(resolution.options)}")
    return "".join(f"{line}\n" for line in lines)


def container_resolution(
    *, dns: Sequence[str], search: Sequence[str], options: Sequence[str], has_names: bool
) -> Resolution:
    """Decide a container's settings: what was asked for, else the host's, else our own server."""
    host = host_resolution()
    servers = tuple(dns) or host.servers
    chosen_options = tuple(options) or host.options
    if has_names:
        servers = (EMBEDDED_SERVER,)
        if not any(option.startswith("ndots:") for option in chosen_options):
            chosen_options = (*chosen_options, "ndots:0")
    return Resolution(servers, tuple(search) or host.search, chosen_options)


def hosts(own: Iterable[tuple[str, Sequence[str]]], added: Iterable[tuple[str, str]]) -> str:
    """Write a hosts file: the local names, the added (name, address), then the container's own."""
    lines = [_LOCAL_LINES]
    lines += [f"{address}\t{name}\n" for name, address in added]
    lines += [f"{address}\t{' '.join(names)}\n" for address, names in own]
    return "".join(lines)


def step_hosts(hostname: str, added: Iterable[tuple[str, str]]) -> str:
    """Write the hosts file of a build step, whose own name is a loopback one."""
    own = _LOCAL_LINES.replace("127.0.0.1\tlocalhost", f"127.0.0.1\tlocalhost {hostname}", 1)
    return own + "".join(f"{address}\t{name}\n" for name, address in added)


def host_hosts(added: Iterable[tuple[str, str]]) -> str:
    """Give the host's own file with lines added."""
    text = _read(HOST_HOSTS)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"{address}\t{name}\n" for name, address in added)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
