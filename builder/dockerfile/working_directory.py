"""WORKDIR: sets where relative paths start, and makes the directory."""

from builder.dockerfile.expansion import expanded, shown
from builder.dockerfile.history import go_quote
from builder.dockerfile.instructions import Workdir
from builder.dockerfile.naming import upper_keyword
from builder.dockerfile.paths import clean
from builder.dockerfile.rules import WORKDIR_RELATIVE
from builder.dockerfile.scope import Scope
from builder.dockerfile.state import StageState
from builder.graph import ops
from builder.graph.vertex import Input, Vertex


def workdir(instruction: Workdir, state: StageState, scope: Scope) -> StageState:
    """Change the working directory; a layer is made for all but `/`, even if nothing changes."""
    written = expanded(instruction.text, state, scope, instruction.span)
    if not state.has_workdir and not written.startswith("/"):
        scope.checks.report(
            WORKDIR_RELATIVE,
            f"Relative workdir {go_quote(written)} can have unexpected results if the base image"
            " changes",
            instruction.span,
        )
    path = _kept(clean(written, state.workdir), written)
    run = state.run_config._replace(working_dir=path)
    state = state.with_run_config(run)._replace(has_workdir=True)
    if path == "/":
        return state.noted("WORKDIR /")
    state = state._replace(step=state.step + 1)
    text = upper_keyword(shown(instruction.original, state, scope))
    vertex = Vertex(
        ops.Files((ops.Mkdir(clean(path), _owner(run.user)),), scope.request.is_strict),
        (Input(state.root),),
        name=scope.name(state, text),
        span=instruction.span,
        is_ignoring_cache=scope.is_ignoring_cache,
    )
    return state.layered(vertex, f"WORKDIR {path}")


def _kept(path: str, written: str) -> str:
    """Keep the trailing slash of an absolute path, as the reference does; it means nothing."""
    is_kept = written.startswith("/") and written.endswith(("/", "/.")) and path != "/"
    return f"{path}/" if is_kept else path


def _owner(user: str) -> ops.Owner | None:
    if not user:
        return None
    name, colon, group = user.partition(":")
    return ops.Owner(name, group if colon else None)
