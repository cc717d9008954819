"""What an instruction may know besides the state of its stage."""

from collections.abc import Callable, Mapping

from builder.dockerfile.naming import platform_name, step_name
from builder.dockerfile.needs import NeedList
from builder.dockerfile.request import BuildRequest, Pins
from builder.dockerfile.rules import Checks
from builder.dockerfile.state import StageState
from builder.graph.vertex import Vertex
from builder.source import Span
from builder.values import NamedTuple


class Resolution(NamedTuple):
    """What was asked for, what the outside has found, and what it still has to find."""

    request: BuildRequest
    pins: Pins
    needs: NeedList

    @classmethod
    def of(cls, request: BuildRequest, pins: Pins) -> "Resolution":
        """Begin to resolve a request with what is known."""
        return cls(request, pins, NeedList())


class Files(NamedTuple):
    """A place that files are copied or mounted from."""

    vertex: Vertex
    is_context: bool


class Scope(NamedTuple):
    """The surroundings of one instruction; the collectors in it only ever grow."""

    resolution: Resolution
    checks: Checks
    escape: str
    global_args: Mapping[str, str]
    build_args: Mapping[str, str]
    context: Files
    find: Callable[[str, Span], Files]
    """Finds what `--from` names: a finished stage, a named context, an image."""
    is_ignored: Callable[[str], bool] | None
    """Whether the ignore file leaves a path out; None if that cannot be told from patterns."""
    stage: str
    total: int
    is_trigger: bool = False
    is_ignoring_cache: bool = False

    @property
    def request(self) -> BuildRequest:
        """Give what was asked for."""
        return self.resolution.request

    def name(self, state: StageState, text: str) -> str:
        """Name the step that a state has just counted."""
        if not self.total:
            return text
        platform = ""
        if self.request.is_multi_platform:
            platform = platform_name(state.platform, state.env)
        return step_name(
            text,
            stage=self.stage,
            step=state.step,
            total=self.total,
            platform=platform,
            is_trigger=self.is_trigger,
        )
