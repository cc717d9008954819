"""The names of steps: `[build 2/4] RUN make`, as progress displays show them."""

from collections.abc import Mapping

from builder.dockerfile.platforms import cross_platform
from builder.oci.platform import Platform

CONTEXT_NAME = "[internal] load build context"


def step_name(
    text: str,
    *,
    stage: str,
    step: int,
    total: int,
    platform: str = "",
    is_trigger: bool = False,
) -> str:
    """Prefix an instruction with its stage, the platform if there are several, and its number."""
    words = [word for word in (platform, stage) if word]
    words.append(f"{step:{len(str(total))}}/{total}")
    return f"[{' '.join(words)}] {'ONBUILD ' if is_trigger else ''}{text}"


def platform_name(platform: Platform, env: Mapping[str, str]) -> str:
    """Name the platform of a step, with the one it compiles for if that is another."""
    return f"{platform}{cross_platform(platform, env)}"


def upper_keyword(text: str) -> str:
    """Write an instruction's first word in capitals."""
    keyword, space, rest = text.partition(" ")
    return keyword.upper() + space + rest


def script_summary(content: str) -> str:
    """Give the first line of a here-document, with dots if there are more."""
    first, newline, _rest = content.strip().replace("\r\n", "\n").partition("\n")
    return first + ("..." if newline else "")


def context_name(name: str) -> str:
    """Name the step that reads a named context."""
    return f"[context {name}] load from client"
