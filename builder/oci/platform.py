"""Platforms: operating system, architecture and variant, and which of several fits best.

Spec: OCI image-spec, image-index.md, "platform"; names as Go's GOOS and GOARCH.
"""

from collections.abc import Sequence

from builder.errors import UsageError
from builder.values import NamedTuple

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
    "i686": "386",
}
_IMPLIED_VARIANT = {"arm64": "v8", "amd64": "v1", "arm": "v7"}
_ARM_FALLBACK = {"v8": ("v8", "v7", "v6", "v5"), "v7": ("v7", "v6", "v5"), "v6": ("v6", "v5")}


class Platform(NamedTuple):
    """What an image runs on; empty strings where nothing is said."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        """Write it as users do: `linux/arm/v7`."""
        parts = [self.os, self.architecture] + ([self.variant] if self.variant else [])
        return "/".join(parts)


def parse_platform(text: str) -> Platform:
    """Read `os/arch[/variant]` or `arch`; raise UsageError for anything else."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1 and parts[0] in {"linux", "windows", "darwin", "freebsd"}:
        raise UsageError(f"platform {text!r} names no architecture", fix="write os/arch")
    if len(parts) == 1:
        parts = ["linux", *parts]
    if len(parts) not in (2, 3) or not all(_is_word(part) for part in parts):
        raise UsageError(f"{text!r} is not a platform", fix="write it like linux/arm64")
    return normalized(Platform(*parts))


def normalized(platform: Platform) -> Platform:
    """Replace aliases and drop the variant that the architecture implies."""
    variant = platform.variant
    architecture = _ARCHITECTURES.get(platform.architecture, platform.architecture)
    if platform.architecture == "armel":
        variant = variant or "v6"
    if architecture in {"arm64", "amd64"} and variant == _IMPLIED_VARIANT[architecture]:
        variant = ""
    if architecture == "arm":
        variant = variant or "v7"
    return platform._replace(architecture=architecture, variant=variant)


def host_platform(machine: str) -> Platform:
    """Name the platform of a machine by what `uname -m` calls it."""
    return normalized(Platform("linux", _host_architecture(machine), _host_variant(machine)))


def best_match(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """Pick the offer that suits best; None if no one does.

    An exact variant wins; ARM falls back to older variants. Offers that are None never match.
    """
    wanted = normalized(wanted)
    candidates = [(i, normalized(offer)) for i, offer in enumerate(offered) if offer is not None]
    for variant in _acceptable_variants(wanted):
        for index, offer in candidates:
            if (offer.os, offer.architecture) == wanted[:2] and offer.variant == variant:
                return index
    return None


def _acceptable_variants(wanted: Platform) -> tuple[str, ...]:
    if wanted.architecture == "arm":
        return _ARM_FALLBACK.get(wanted.variant, (wanted.variant,))
    if wanted.variant:
        return (wanted.variant, "")
    return ("",)


def _host_architecture(machine: str) -> str:
    return "arm" if machine.startswith("armv") else machine


def _host_variant(machine: str) -> str:
    return machine[3:5] if machine.startswith("armv") else ""


def _is_word(part: str) -> bool:
    return part[:1].isalnum() and all(c.isalnum() or c in "-_." for c in part) and part.isascii()
