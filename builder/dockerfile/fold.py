"""The fold of one stage: each instruction maps the stage's state to the next."""

from builder.dockerfile import copies, metadata, runs, working_directory
from builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from builder.dockerfile.scope import Scope
from builder.dockerfile.state import StageState


def applied(  # noqa: PLR0911 - one case for each instruction
    instruction: Instruction, state: StageState, scope: Scope
) -> StageState:
    """Apply one instruction."""
    match instruction:
        case Run():
            return runs.run(instruction, state, scope)
        case Copy() | Add():
            return copies.copy(instruction, state, scope)
        case Workdir():
            return working_directory.workdir(instruction, state, scope)
        case Arg():
            return metadata.arg(instruction, state, scope)
        case Env():
            return metadata.env(instruction, state, scope)
        case User():
            return metadata.user(instruction, state, scope)
        case From():
            return state
        case _:
            return _described(instruction, state, scope)


def _described(  # noqa: PLR0911 - one case for each instruction
    instruction: (
        Cmd
        | Entrypoint
        | Expose
        | Healthcheck
        | Label
        | Maintainer
        | Onbuild
        | Shell
        | Stopsignal
        | Volume
    ),
    state: StageState,
    scope: Scope,
) -> StageState:
    match instruction:
        case Cmd():
            return metadata.cmd(instruction, state, scope)
        case Entrypoint():
            return metadata.entrypoint(instruction, state, scope)
        case Healthcheck():
            return metadata.healthcheck(instruction, state, scope)
        case Expose():
            return metadata.expose(instruction, state, scope)
        case Volume():
            return metadata.volume(instruction, state, scope)
        case Stopsignal():
            return metadata.stop_signal(instruction, state, scope)
        case Label():
            return metadata.label(instruction, state, scope)
        case _:
            return _quiet(instruction, state)


def _quiet(instruction: Maintainer | Onbuild | Shell, state: StageState) -> StageState:
    match instruction:
        case Maintainer():
            return metadata.maintainer(instruction, state)
        case Onbuild():
            return metadata.on_build(instruction, state)
        case Shell():
            return metadata.shell(instruction, state)
