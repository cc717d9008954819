"""`--change`: Dockerfile instructions applied to the config of an image that exists.

The instructions are parsed and lowered like any Dockerfile's, on top of the config.
"""

from collections.abc import Sequence

from builder.dockerfile.lower import lower
from builder.dockerfile.parser import parse
from builder.dockerfile.request import BuildRequest, ImagePin, Needs, Pins
from builder.errors import UsageError
from builder.oci.config import ImageConfig, RunConfig
from builder.oci.digest import digest_of
from builder.oci.platform import Platform
from builder.source import Source

INSTRUCTIONS = frozenset(
    {
        "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL",
        "USER", "VOLUME", "WORKDIR",
    }
)  # fmt: skip

_NAME = "docker.io/library/base:latest"


def changed_config(
    config: RunConfig, changes: Sequence[str], platform: Platform, *, cache_dir: str | None = None
) -> RunConfig:
    """Apply instructions in order; UsageError for one that makes files or another stage."""
    if not changes:
        return config
    for change in changes:
        word = change.strip().partition(" ")[0].upper()
        if word not in INSTRUCTIONS or "\n" in change:
            raise UsageError(
                f"{change[:100]!r} cannot be a change",
                fix=f"use one of {', '.join(sorted(INSTRUCTIONS))}",
            )
    text = "\n".join((f"FROM {_NAME}", *changes, ""))
    dockerfile = parse(Source("--change", text), cache_dir=cache_dir)
    base = ImagePin(digest_of(b""), ImageConfig(platform, config))
    request = BuildRequest(platform, platform)
    lowered = lower(dockerfile, request, Pins(images={(_NAME, platform): base}))
    if isinstance(lowered, Needs):
        raise UsageError("a change cannot name an image", fix="use one that sets a value")
    return lowered.config.config
