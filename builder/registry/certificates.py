"""Certificates for a host: the directories that Docker, containers and we keep them in."""

import os
from collections.abc import Sequence

from builder.values import NamedTuple


class Tls(NamedTuple):
    """How to speak TLS with a host. Paths of PEM files; system authorities are always trusted."""

    is_verified: bool = True
    authorities: tuple[str, ...] = ()
    cert: str = ""
    key: str = ""


def tls_of(host: str, directories: Sequence[str]) -> Tls:
    """Collect what `certs.d/HOST` holds: `*.crt` authorities, and a `*.cert` with its `*.key`."""
    authorities: list[str] = []
    cert = key = ""
    for directory in directories:
        folder = f"{directory}/{host}"
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        authorities += [f"{folder}/{name}" for name in names if name.endswith(".crt")]
        for name in names:
            key_name = name.removesuffix(".cert") + ".key"
            if name.endswith(".cert") and key_name in names and not cert:
                cert, key = f"{folder}/{name}", f"{folder}/{key_name}"
    return Tls(authorities=tuple(authorities), cert=cert, key=key)
