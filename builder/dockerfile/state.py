"""The state of a stage after some of its instructions: a value that instructions map to the next.

Two environments are kept apart: `config.config.env` goes into the image, `env` is what variables
expand to and what RUN sees; ARG values are in the second only.
"""

from collections.abc import Mapping
from types import MappingProxyType

from builder.dockerfile import history
from builder.dockerfile.paths import clean
from builder.errors import DockerfileError
from builder.graph.vertex import Vertex
from builder.oci.config import DEFAULT_PATH, History, ImageConfig, RunConfig
from builder.oci.platform import Platform
from builder.source import Span
from builder.values import NamedTuple

MAX_ENV_BYTES = 4 << 20
NEVER_IN_ENV = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
"""Arguments that steer the builder and are kept out of the environment when declared."""
_DEFAULT_SHELL = ("/bin/sh", "-c")
_WINDOWS_SHELL = ("cmd", "/S", "/C")


class StageState(NamedTuple):
    """What a stage has come to be. Mappings are replaced, never changed."""

    root: Vertex
    config: ImageConfig
    platform: Platform
    env: Mapping[str, str] = MappingProxyType({})
    env_bytes: int = 0
    declared: Mapping[str, str] = MappingProxyType({})
    """Names by ARG, in order, with their values; empty for those without."""
    layers: tuple[Vertex, ...] = ()
    """The vertices that made layers above the base image's, one for each entry of the history."""
    step: int = 0
    """How many steps were numbered in this stage."""
    cmd_span: Span | None = None
    entrypoint_span: Span | None = None
    healthcheck_span: Span | None = None
    has_workdir: bool = False
    """Whether a WORKDIR was written in this Dockerfile, so that relative ones are well defined."""

    @property
    def run_config(self) -> RunConfig:
        """Give the inner config object."""
        return self.config.config

    @property
    def workdir(self) -> str:
        """Give the directory that relative paths start from, without a trailing slash."""
        path = self.run_config.working_dir
        return clean(path.replace("\\", "/") if self.config.platform.os == "windows" else path)

    @property
    def shell(self) -> tuple[str, ...]:
        """Give the shell that shell forms are passed to."""
        default = _WINDOWS_SHELL if self.config.platform.os == "windows" else _DEFAULT_SHELL
        return self.run_config.shell or default

    def with_run_config(self, run: RunConfig) -> "StageState":
        """Replace the inner config object."""
        return self._replace(config=self.config._replace(config=run))

    def noted(self, created_by: str) -> "StageState":
        """Add a history entry that has no layer."""
        return self._with_entry(history.entry(created_by, is_empty_layer=True))

    def layered(self, vertex: Vertex, created_by: str) -> "StageState":
        """Stand on a vertex that adds a layer, and say so in the history."""
        state = self._with_entry(history.entry(created_by, is_empty_layer=False))
        return state._replace(root=vertex, layers=(*self.layers, vertex))

    def with_variable(self, name: str, value: str, span: Span) -> "StageState":
        """Set a variable for expansion and RUN; raise DockerfileError beyond the limit."""
        grown = len(value) - len(self.env[name]) if name in self.env else len(name) + len(value)
        env_bytes = self.env_bytes + grown
        if env_bytes > MAX_ENV_BYTES:
            raise DockerfileError(
                f"the environment grows beyond {MAX_ENV_BYTES >> 20} MiB with {name}",
                fix="keep large values in files",
                span=span,
                word=name,
            )
        return self._replace(env={**self.env, name: value}, env_bytes=env_bytes)

    def _with_entry(self, entry: History) -> "StageState":
        entries = (*self.config.history, entry)
        return self._replace(config=self.config._replace(history=entries))


def first_state(root: Vertex, config: ImageConfig, platform: Platform) -> StageState:
    """Start a stage on an image or on nothing: its environment, with a PATH if it has none."""
    return restarted(StageState(root, reconciled(config), platform))


def restarted(state: StageState) -> StageState:
    """Start a stage on another's end: what counts once in a stage begins anew.

    The image's environment is set again, over arguments of the same names.
    """
    env = state.run_config.env
    if not any(variable.startswith("PATH=") for variable in env) and state.platform.os != "windows":
        env = (*env, f"PATH={DEFAULT_PATH}")
    run = state.run_config._replace(env=env, on_build=())
    pairs = (variable.partition("=") for variable in env)
    visible = {**state.env, **{name: value for name, _, value in pairs}}
    return state.with_run_config(run)._replace(
        env=visible,
        env_bytes=sum(len(name) + len(value) for name, value in visible.items()),
        step=0,
        cmd_span=None,
        entrypoint_span=None,
        healthcheck_span=None,
    )


def reconciled(config: ImageConfig) -> ImageConfig:
    """Make history and layers of a base image agree in number, as exporting demands.

    Layers that no entry tells of get one; entries without layers are marked empty, oldest first.
    """
    surplus = sum(not entry.is_empty_layer for entry in config.history) - len(config.diff_ids)
    entries = list(config.history)
    for index, entry in enumerate(entries):
        if surplus > 0 and not entry.is_empty_layer:
            entries[index] = entry._replace(is_empty_layer=True)
            surplus -= 1
    made_up = History(config.created, comment=history.IMPORTED_COMMENT)
    return config._replace(history=(*entries, *[made_up] * -surplus))


def with_env(env: tuple[str, ...], name: str, value: str) -> tuple[str, ...]:
    """Set a variable of an image config: in place if it is there, else at the end."""
    prefix = f"{name}="
    for index, old in enumerate(env):
        if old.startswith(prefix) or old == name:
            return (*env[:index], prefix + value, *env[index + 1 :])
    return (*env, prefix + value)
