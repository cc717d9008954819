"""The words before the colon where an image is named with its place.

Spec: containers-transports(5).
"""

FILE_TRANSPORTS = ("oci", "oci-archive", "docker-archive", "dir")
REGISTRY = "docker://"
LAYOUT = "oci-layout"
"""How builds write `oci`, with two slashes."""


def is_file(name: str) -> bool:
    """Whether an image is named by a file or directory of the client."""
    transport, colon, _ = name.partition(":")
    return bool(colon) and (transport in FILE_TRANSPORTS or transport == LAYOUT)
