"""Docker Engine JSON of images: the shapes that `inspect`, `images` and `history` print.

Absent lists and objects are null, as Docker writes Go's nil; times are RFC 3339 or Unix seconds.

Spec: Docker Engine API v1.45, ImageInspect, HistoryResponseItem.
"""

import time
from collections.abc import Sequence

from builder.oci.config import History, ImageConfig, RunConfig, run_config_json
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.reference import Reference
from builder.values import NamedTuple

NOT_A_NAME = "<none>"
MISSING = "<missing>"
_RUN_CONFIG = (
    "User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Volumes", "WorkingDir",
    "Entrypoint", "OnBuild", "Labels", "StopSignal", "Shell",
)  # fmt: skip
_TEXTS = frozenset({"User", "WorkingDir", "StopSignal"})


class ImageFacts(NamedTuple):
    """All that is known of one image of the store.

    `descriptor` is the manifest's or index's. `size_bytes` counts what the image takes on disk,
    `shared_bytes` of it also belong to other images.
    """

    image_id: Digest
    descriptor: Descriptor
    names: tuple[Reference, ...]
    config: ImageConfig
    created_s: int
    size_bytes: int
    shared_bytes: int
    containers: int


class HistoryLine(NamedTuple):
    """One line of an image's history: its entry, and the bytes of its layer (0 if it has none)."""

    entry: History
    size_bytes: int


def repo_tags(names: Sequence[Reference]) -> list[str]:
    """Write tags as users type them."""
    return [name.familiar for name in names if name.tag]


def repo_digests(names: Sequence[Reference], digest: Digest) -> list[str]:
    """Write each repository once, with the image's manifest digest."""
    plain = (name._replace(tag="", digest=digest).familiar for name in names)
    return list(dict.fromkeys(plain))


def image_inspect(image: ImageFacts) -> dict[str, object]:
    """Describe an image as `GET /images/NAME/json` does."""
    config = image.config
    newest = config.history[-1] if config.history else History()
    return {
        "Id": image.image_id,
        "RepoTags": repo_tags(image.names),
        "RepoDigests": repo_digests(image.names, image.descriptor.digest),
        "Parent": "",
        "Comment": newest.comment,
        "Created": config.created or "",
        "DockerVersion": "",
        "Author": config.author,
        "Config": run_config(config.config),
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "OsVersion": config.platform.os_version,
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(image.created_s)},
        "Descriptor": {
            "mediaType": image.descriptor.media_type,
            "digest": image.descriptor.digest,
            "size": image.descriptor.size_bytes,
        },
    }


def run_config(config: RunConfig) -> dict[str, object]:
    """Write a container's defaults with every field present."""
    present = run_config_json(config)
    absent: dict[str, object] = {name: "" if name in _TEXTS else None for name in _RUN_CONFIG}
    return {**absent, "ArgsEscaped": False, **present}


def history_items(
    image_id: Digest, tags: Sequence[str], lines: Sequence[HistoryLine]
) -> list[dict[str, object]]:
    """Describe a history as `GET /images/NAME/history` does: newest first."""
    return [
        {
            "Id": MISSING if position else image_id,
            "Created": unix_seconds(line.entry.created),
            "CreatedBy": line.entry.created_by,
            "Tags": None if position else list(tags) or None,
            "Size": line.size_bytes,
            "Comment": line.entry.comment,
        }
        for position, line in enumerate(reversed(lines))
    ]


def rfc3339(seconds: int) -> str:
    """Write Unix seconds as a UTC time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def unix_seconds(text: str | None) -> int:
    """Read an RFC 3339 time as Unix seconds; 0 if there is none or it is malformed."""
    if not text:
        return 0
    try:
        date, _, of_day = text.upper().partition("T")
        year, month, day = (int(part) for part in date.split("-"))
        clock, offset_s = _without_offset(of_day)
        hours, minutes, seconds = (int(part) for part in clock.partition(".")[0].split(":"))
    except ValueError:
        return 0
    if not (1 <= month <= 12 and 1 <= day <= 31 and 0 <= year <= 9999):  # noqa: PLR2004 - a calendar
        return 0
    return _days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds - offset_s


def _without_offset(of_day: str) -> tuple[str, int]:
    if of_day.endswith("Z"):
        return of_day[:-1], 0
    for sign in "+-":
        clock, found, offset = of_day.rpartition(sign)
        if found:
            hours, minutes = (int(part) for part in offset.split(":"))
            return clock, (hours * 3600 + minutes * 60) * (1 if sign == "+" else -1)
    raise ValueError(of_day)


def _days(year: int, month: int, day: int) -> int:
    """Count days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant's algorithm)."""
    year -= month <= 2  # noqa: PLR2004 - years begin in March here, so that leap days come last
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
