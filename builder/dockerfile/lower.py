"""Lowering: a Dockerfile and a request become a graph of vertices and an image config.

A pure fold over the instructions of every stage that the target needs. What only the outside
knows is asked for all at once; the caller resolves it and lowers again.
"""

from builder.dockerfile.bases import chosen_platform
from builder.dockerfile.checks import check_build_args, check_file, file_checks
from builder.dockerfile.history import COMMENT, IMPORTED_COMMENT, description
from builder.dockerfile.lowering import Lowering
from builder.dockerfile.metadata import with_labels
from builder.dockerfile.parser import Dockerfile
from builder.dockerfile.request import BuildRequest, ImageNeed, ImagePin, Needs, Pins
from builder.dockerfile.rules import Checks, Warning  # noqa: A004 - the word that users see
from builder.dockerfile.scope import Resolution
from builder.dockerfile.stages import Node
from builder.dockerfile.state import StageState
from builder.errors import BuilderError
from builder.graph.vertex import Vertex
from builder.oci.config import History, ImageConfig
from builder.oci.platform import normalized
from builder.values import NamedTuple

__all__ = ["Checked", "Lowered", "StageResult", "Warning", "lint", "lower"]


class StageResult(NamedTuple):
    """One stage as lowered."""

    name: str
    root: Vertex
    config: ImageConfig
    layers: tuple[Vertex, ...]
    base: ImagePin | None
    is_target: bool


class Lowered(NamedTuple):
    """The target as a graph, and the config of the image that it becomes."""

    root: Vertex
    config: ImageConfig
    """Complete but for `diff_ids`, and for times if none were given."""
    layers: tuple[Vertex, ...]
    """One vertex for each entry of the history that has a layer, above the base's, in order."""
    base: ImagePin | None
    """The image whose layers lie below."""
    warnings: tuple[Warning, ...]
    epoch_s: int | None
    """SOURCE_DATE_EPOCH, if it was given and its source has a time."""
    images: tuple[ImageNeed, ...]
    """The images that the build reads."""
    stages: tuple[StageResult, ...]
    """All stages that were lowered, in file order."""


class Checked(NamedTuple):
    """What the checks of a file found, and the error that a build of it would end with."""

    warnings: tuple[Warning, ...]
    error: BuilderError | None = None


def lower(
    dockerfile: Dockerfile, request: BuildRequest, pins: Pins, *, created: str | None = None
) -> Lowered | Needs:
    """Lower the target for one platform, or name the pins that are missing.

    `created` is the time to write into config and history. Raises DockerfileError with the place
    of the instruction, Denied for privileges that were not granted, UsageError for what the
    request itself gets wrong.
    """
    checks = file_checks(dockerfile, request)
    check_file(dockerfile, request, checks)
    lowering = Lowering(dockerfile, Resolution.of(request, pins), checks)
    lowering.lower([lowering.target])
    missing = _missing(lowering, dockerfile, checks)
    return _lowered(lowering, checks, created) if missing is None else missing


def lower_stages(
    dockerfile: Dockerfile, request: BuildRequest, pins: Pins
) -> tuple[Vertex, ...] | Needs:
    """Lower every stage, used or not, to see all that the file reads; nothing is checked."""
    lowering = Lowering(dockerfile, Resolution.of(request, pins), file_checks(dockerfile, request))
    lowering.lower(lowering.graph.stages)
    missing = lowering.resolution.needs.missing()
    if missing is not None:
        return missing
    return tuple(lowering.state(node).root for node in lowering.lowered_stages())


def lint(dockerfile: Dockerfile, request: BuildRequest, pins: Pins) -> Checked | Needs:
    """Check all stages, or those of the target if one is given, without building anything."""
    try:
        checks = file_checks(dockerfile, request)
    except BuilderError as error:
        return Checked((), error)
    try:
        check_file(dockerfile, request, checks)
        lowering = Lowering(dockerfile, Resolution.of(request, pins), checks)
        lowering.lower([lowering.target] if request.target else lowering.graph.stages)
        missing = _missing(lowering, dockerfile, checks)
    except BuilderError as error:
        return Checked(checks.warnings, error)
    return Checked(checks.warnings) if missing is None else missing


def _missing(lowering: Lowering, dockerfile: Dockerfile, checks: Checks) -> Needs | None:
    """Name the pins that are missing; if none are, raise for rules that must not be broken."""
    missing = lowering.resolution.needs.missing()
    if missing is None:
        request = lowering.resolution.request
        check_build_args(dockerfile, request, lowering.fired(), checks)
        checks.raise_if_strict()
        if request.is_strict:
            checks.raise_if_own()
    return missing


def _lowered(lowering: Lowering, checks: Checks, created: str | None) -> Lowered:
    state = lowering.state(lowering.target)
    base = lowering.pin(lowering.target)
    return Lowered(
        state.root,
        _config(state, base, lowering.resolution.request, created),
        state.layers,
        base,
        checks.warnings,
        lowering.epoch_s,
        lowering.images(),
        tuple(_stage_result(node, lowering) for node in lowering.lowered_stages()),
    )


def _stage_result(node: Node, lowering: Lowering) -> StageResult:
    state = lowering.state(node)
    pin = lowering.pin(node)
    is_target = node is lowering.target
    return StageResult(node.title, state.root, state.config, state.layers, pin, is_target)


def _config(
    state: StageState, base: ImagePin | None, request: BuildRequest, created: str | None
) -> ImageConfig:
    run = with_labels(state, list(request.labels)).run_config
    return state.config._replace(
        platform=normalized(chosen_platform(state.config, request)),
        config=run._replace(working_dir=run.working_dir or "/"),
        diff_ids=(),
        history=_history(state, base, created),
        created=created,
    )


def _history(state: StageState, base: ImagePin | None, created: str | None) -> tuple[History, ...]:
    """Give the new entries their time, and one to a layer that no instruction made.

    Such a layer comes from a context that a stage stands on. The reference tells of it last.
    """
    entries = state.config.history
    layers = sum(not entry.is_empty_layer for entry in entries)
    missing = len(state.layers) + (len(base.config.diff_ids) if base else 0) - layers
    if missing:
        text = description(state.layers[-1])
        entries = (*entries, *[History(None, text, IMPORTED_COMMENT)] * missing)
    ours = {COMMENT, IMPORTED_COMMENT}
    old = len(base.config.history) if base else 0
    return (
        *entries[:old],
        *(
            entry._replace(created=created) if entry.comment in ours else entry
            for entry in entries[old:]
        ),
    )
