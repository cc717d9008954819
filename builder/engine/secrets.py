"""Secrets of the command line: values that are read when a step mounts them, never earlier."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from builder.engine.request import Secret
from builder.errors import NotFound, UsageError

MAX_SECRET_BYTES = 500 << 10


def secret_loaders(secrets: Sequence[Secret]) -> Mapping[str, Callable[[], bytes]]:
    """Map each ID to what reads its value; a missing file is reported at once.

    Raises NotFound.
    """
    for secret in secrets:
        if secret.path is not None and not os.path.exists(secret.path):
            raise NotFound(
                f"the file {secret.path!r} of secret {secret.id} does not exist",
                fix="check the path in --secret",
            )
    return {secret.id: partial(_load, secret) for secret in secrets}


def _load(secret: Secret) -> bytes:
    if secret.path is None:
        return os.environb.get(os.fsencode(secret.variable or secret.id), b"")
    try:
        with open(secret.path, "rb") as stream:
            value = stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFound(f"secret {secret.id}: {secret.path}: {reason}") from None
    if len(value) > MAX_SECRET_BYTES:
        raise UsageError(f"secret {secret.id} is larger than {MAX_SECRET_BYTES >> 10} KiB")
    return value
