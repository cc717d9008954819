"""The automatic platform arguments, and the platforms that FROM lines ask for."""

from collections.abc import Mapping

from builder.dockerfile.request import BuildRequest
from builder.oci.platform import Platform

DEFAULT_TARGET = "default"


def automatic_args(request: BuildRequest, target: str) -> dict[str, str]:
    """List the arguments that exist in the global scope of every build; build arguments win.

    `target` is the name of the target stage, empty if it has none.
    """
    given = dict(request.build_args)
    automatic = {
        **_described("BUILD", request.build_platform),
        **_described("TARGET", request.platform),
        "TARGETSTAGE": target or DEFAULT_TARGET,
    }
    return {name: given.get(name, value) for name, value in automatic.items()}


def cross_platform(base: Platform, env: Mapping[str, str]) -> str:
    """Write where a stage compiles to, if elsewhere: `->arm64`, by the TARGET* in its scope."""
    target = _declared_target(base, env)
    if target is None or target[:2] == base[:2]:
        return ""
    if target.os != base.os:
        return f"->{target}"
    return f"->{target.architecture}" + (f"/{target.variant}" if target.variant else "")


def _described(prefix: str, platform: Platform) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": str(platform),
        f"{prefix}OS": platform.os,
        f"{prefix}OSVERSION": platform.os_version,
        f"{prefix}ARCH": platform.architecture,
        f"{prefix}VARIANT": platform.variant,
    }


def _declared_target(base: Platform, env: Mapping[str, str]) -> Platform | None:
    whole = env.get("TARGETPLATFORM", "").split("/")
    if len(whole) in (2, 3):
        return Platform(*whole)
    if not env.keys() & {"TARGETOS", "TARGETARCH", "TARGETVARIANT"}:
        return None
    return Platform(
        env.get("TARGETOS") or base.os,
        env.get("TARGETARCH") or base.architecture,
        env.get("TARGETVARIANT", ""),
    )
