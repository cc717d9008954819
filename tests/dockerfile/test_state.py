import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.state import (
    MAX_ENV_BYTES,
    StageState,
    first_state,
    reconciled,
    restarted,
    with_env,
)
from builder.errors import DockerfileError
from builder.graph.ops import Scratch
from builder.graph.vertex import Vertex
from builder.oci.config import History, ImageConfig, RunConfig
from builder.oci.digest import digest_of
from builder.source import Position, Source, Span
from tests.dockerfile.builds import AMD64, BARE, PATH

SPAN = Span(Source("Dockerfile", "ENV A=1"), Position(1, 1), Position(1, 8))
names = st.text(alphabet="AB", min_size=1, max_size=2)


def begun(run: RunConfig = BARE) -> StageState:
    return first_state(Vertex(Scratch()), ImageConfig(AMD64, run), AMD64)


def test_a_stage_begins_with_a_path() -> None:
    assert begun().run_config.env == (PATH,)
    assert begun(RunConfig(env=("A=1", "PATH=/x"))).run_config.env == ("A=1", "PATH=/x")
    assert begun(RunConfig(env=("A=1",))).run_config.env == ("A=1", PATH)


def test_a_child_stage_sets_the_images_environment_over_arguments() -> None:
    state = begun(RunConfig(env=("A=env",))).with_variable("A", "arg", SPAN)

    child = restarted(state)

    assert state.env["A"] == "arg"
    assert child.env["A"] == "env"


def test_a_child_stage_counts_afresh() -> None:
    state = begun()._replace(step=3, cmd_span=SPAN, has_workdir=True)

    child = restarted(state)

    assert (child.step, child.cmd_span, child.has_workdir) == (0, None, True)


@given(st.lists(st.tuples(names, st.text(max_size=3)), max_size=8))
def test_variables_keep_the_order_of_their_first_appearance(pairs: list[tuple[str, str]]) -> None:
    env: tuple[str, ...] = ()

    for name, value in pairs:
        env = with_env(env, name, value)

    assert dict(variable.split("=", 1) for variable in env) == dict(pairs)
    assert [variable.split("=")[0] for variable in env] == list(dict(pairs))


def test_the_environment_has_a_limit() -> None:
    state = begun()
    state = state.with_variable("A", "x" * (MAX_ENV_BYTES - 1000), SPAN)
    state = state.with_variable("A", "x" * (MAX_ENV_BYTES - 1000), SPAN)

    with pytest.raises(DockerfileError, match="beyond 4 MiB with B"):
        state.with_variable("B", "x" * 1000, SPAN)


@given(st.lists(st.booleans(), max_size=6), st.integers(0, 6))
def test_history_and_layers_agree_afterwards(empty: list[bool], layers: int) -> None:
    history = tuple(History(created_by=str(i), is_empty_layer=e) for i, e in enumerate(empty))
    config = ImageConfig(AMD64, diff_ids=(digest_of(b""),) * layers, history=history)

    result = reconciled(config)

    assert sum(not entry.is_empty_layer for entry in result.history) == layers
    assert [entry.created_by for entry in result.history][: len(empty)] == [
        entry.created_by for entry in history
    ]
