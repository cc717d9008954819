from hypothesis import given, settings
from hypothesis import strategies as st

from builder.dockerfile.lower import Lowered, lower
from builder.dockerfile.request import HttpNeed, NamedContext, Needs, Pins
from builder.graph import ops
from builder.graph.walk import topological
from builder.oci.config import RunConfig
from builder.oci.platform import Platform
from tests.dockerfile.builds import (
    AMD64,
    ARM64,
    COMMIT,
    REQUEST,
    checked,
    created_by,
    image,
    lowered,
    parsed,
    resolved,
)

NO_PINS = Pins()
TIME = "2024-01-02T03:04:05Z"


def needs(text: str, pins: Pins = NO_PINS) -> Needs:
    result = lower(parsed(text), REQUEST, pins)
    assert isinstance(result, Needs)
    return result


def test_all_images_are_asked_for_at_once() -> None:
    text = "FROM a AS x\nFROM b AS y\nCOPY --from=c z z\nFROM x\nCOPY --from=y z z"

    missing = needs(text)

    assert {need.written for need in missing.images} == {"a", "b", "c"}
    assert {need.platform for need in missing.images} == {AMD64}


def test_constant_downloads_are_asked_for_with_the_images() -> None:
    text = "FROM a\nADD https://x/1 https://x/$A /\nADD https://x/2 /d/"

    missing = needs(text)

    assert [need.url for need in missing.urls] == ["https://x/2"]


def test_everything_is_asked_for_once() -> None:
    text = "FROM a AS b\nFROM a\nADD https://x/1 /1\nADD https://x/1 /2\nADD git@x:y /3"
    first = needs(text)

    second = needs(text, resolved(first, Pins(), {}))

    assert [need.written for need in first.images] == ["a"]
    assert len(first.urls) == 1
    assert second.images == ()
    assert second.gits[0].remote == "git@x:y"


def test_a_checksum_is_passed_on() -> None:
    checksum = "sha256:" + "a" * 64
    text = f"FROM scratch\nADD --checksum={checksum} https://x/1 /1"

    [need] = needs(text).urls

    assert need == HttpNeed("https://x/1", checksum, need.span)  # type: ignore[arg-type]


def test_a_misspelt_stage_is_suggested_where_the_image_is_missing() -> None:
    [need] = needs("FROM scratch AS build\nFROM scratch\nCOPY --from=biuld a b").images

    assert need.suggestion == "build"
    assert need.span is not None
    assert need.span.start.line == 3


def test_an_image_is_not_suggested_in_its_own_place() -> None:
    [missing] = needs("FROM busybox").images

    assert missing.suggestion == ""


def test_history_continues_that_of_the_base() -> None:
    result = lowered("FROM base\nRUN x\nENV A=1")

    assert [entry.created_by for entry in result.config.history] == [
        "base",
        "RUN /bin/sh -c x # buildkit",
        "ENV A=1",
    ]
    assert [entry.is_empty_layer for entry in result.config.history] == [False, False, True]
    assert result.layers == (result.root,)
    assert result.base is not None
    assert result.config.diff_ids == ()


def test_layers_of_parent_stages_count() -> None:
    result = lowered("FROM base AS a\nRUN 1\nWORKDIR /w\nFROM a\nCOPY x y\nLABEL a=1")

    kinds = [type(vertex.op).__name__ for vertex in result.layers]
    assert kinds == ["Exec", "Files", "Files"]
    assert sum(not entry.is_empty_layer for entry in result.config.history) == 4


def test_times_are_written_into_new_entries_only() -> None:
    dockerfile = parsed("FROM base\nENV A=1")
    pins = Pins({("docker.io/library/base:latest", AMD64): image("base")})

    result = lower(dockerfile, REQUEST, pins, created=TIME)

    assert isinstance(result, Lowered)
    assert result.config.created == TIME
    assert [entry.created for entry in result.config.history] == [None, TIME]


def test_nothing_on_nothing_is_an_empty_image() -> None:
    result = lowered("FROM scratch")

    assert isinstance(result.root.op, ops.Scratch)
    assert result.layers == ()
    assert result.config.history == ()


def test_the_working_directory_is_always_said() -> None:
    assert lowered("FROM base").config.config.working_dir == "/"


def test_an_image_without_layers_is_nothing_with_a_config() -> None:
    pin = image("base", RunConfig(user="me"))
    pin = pin._replace(config=pin.config._replace(diff_ids=(), history=()))
    pins = Pins({("docker.io/library/base:latest", AMD64): pin})

    result = lower(parsed("FROM base"), REQUEST, pins)

    assert isinstance(result, Lowered)
    assert isinstance(result.root.op, ops.Scratch)
    assert result.config.config.user == "me"


def test_the_asked_for_platform_is_said_and_variants_stay() -> None:
    v7 = Platform("linux", "arm", "v7")
    base = Pins({("docker.io/library/base:latest", ARM64): image("base", platform=v7)})
    request = REQUEST._replace(platform=ARM64)

    implicit = lower(parsed("FROM base"), request, base)
    asked = lower(parsed("FROM base"), request._replace(is_platform_given=True), base)

    assert isinstance(implicit, Lowered)
    assert implicit.config.platform == v7
    assert isinstance(asked, Lowered)
    assert asked.config.platform == ARM64
    assert [warning.rule for warning in asked.warnings] == ["InvalidBaseImagePlatform"]


def test_working_directories_are_made_for_the_user() -> None:
    result = lowered("FROM base\nUSER me:you\nWORKDIR a\nWORKDIR b/\nWORKDIR /c/")

    assert [v.op for v in result.layers] == [
        ops.Files((ops.Mkdir(path, ops.Owner("me", "you")),)) for path in ("/a", "/a/b", "/c")
    ]
    assert created_by(result)[1:] == ["WORKDIR /a", "WORKDIR /a/b", "WORKDIR /c/"]


def test_the_root_as_working_directory_needs_no_layer() -> None:
    result = lowered("FROM base\nWORKDIR /")

    assert result.layers == ()
    assert created_by(result) == ["WORKDIR /"]


def test_the_cache_can_be_ignored_for_a_stage() -> None:
    request = REQUEST._replace(ignoring_cache_for=("B",))
    text = "FROM x AS a\nRUN 1\nFROM a AS b\nRUN 2"

    ignored = {
        vertex.name: vertex.is_ignoring_cache
        for vertex in topological([lowered(text, request).root])
        if isinstance(vertex.op, ops.Exec)
    }

    assert ignored == {"[a 2/2] RUN 1": False, "[b 1/1] RUN 2": True}


def test_a_time_may_be_given_in_seconds() -> None:
    request = REQUEST._replace(build_args=(("SOURCE_DATE_EPOCH", "7"),))

    result = lowered("FROM scratch\nARG SOURCE_DATE_EPOCH", request)

    assert result.epoch_s == 7
    assert created_by(result) == ["ARG SOURCE_DATE_EPOCH=7"]


def test_the_time_of_a_directory_is_none_at_all() -> None:
    request = REQUEST._replace(build_args=(("SOURCE_DATE_EPOCH", "context"),))

    result = lowered("FROM scratch\nARG SOURCE_DATE_EPOCH", request)

    assert result.epoch_s is None
    assert created_by(result) == ["ARG SOURCE_DATE_EPOCH"]


def test_a_source_stage_lends_its_time() -> None:
    text = "ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD https://x/y.git /\nFROM scratch"

    assert lowered(text).epoch_s == 11
    assert lowered(text.replace("y.git", "y")).epoch_s == 7


def test_a_git_context_lends_its_time() -> None:
    contexts = (NamedContext("c", "git", "https://x/y.git"),)
    request = REQUEST._replace(build_args=(("SOURCE_DATE_EPOCH", "c"),), contexts=contexts)

    assert lowered("FROM scratch", request).epoch_s == 11


def test_contexts_may_lie_elsewhere() -> None:
    contexts = (
        NamedContext("g", "git", "https://x/y.git#main:sub"),
        NamedContext("h", "http", "https://x/file"),
    )
    text = "FROM scratch\nCOPY --from=g a b\nCOPY --from=h file b"

    result = lowered(text, REQUEST._replace(contexts=contexts))

    found = [vertex.op for vertex in topological([result.root])]
    assert ops.Git("https://x/y.git", COMMIT, "sub", ref="main") in found
    assert any(isinstance(op, ops.Http) and op.filename == "file" for op in found)


def test_the_main_context_may_be_a_repository() -> None:
    context = NamedContext("context", "git", "https://x/y.git")

    result = lowered("FROM scratch\nCOPY a b", REQUEST._replace(context=context))

    assert isinstance(result.root.inputs[1].vertex.op, ops.Git)


def test_comments_and_blanks_change_nothing() -> None:
    plain = lowered("FROM base\nRUN a  b\nCOPY c d")

    spaced = lowered("# x\nFROM   base\n\nRUN a \\\n# y\n b\n  COPY c d")

    assert plain.root.digest == spaced.root.digest


def test_checks_keep_the_error_of_a_broken_build() -> None:
    result = checked("FROM scratch AS A\nEXPOSE x")

    assert [warning.rule for warning in result.warnings] == ["StageNameCasing"]
    assert result.error is not None
    assert result.error.what == "invalid containerPort: x"


INSTRUCTIONS = st.sampled_from(
    [
        "FROM base", "FROM scratch AS s", "FROM s", "RUN x", "COPY a b", "COPY --from=s a b",
        "COPY --from=0 a b", "ENV A=$A x=y", "ARG A=1", "WORKDIR w", "CMD x", 'ENTRYPOINT ["x"]',
        "ONBUILD RUN y", "EXPOSE 1", "USER u", "LABEL a=b", "ADD a.tar /d/",
        "RUN --mount=from=s,target=/t x", "COPY --link a b",
    ]
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(INSTRUCTIONS, max_size=8))
def test_any_file_is_lowered_consistently_or_refused(instructions: list[str]) -> None:
    dockerfile = parsed("\n".join(("FROM base", *instructions)))
    pins = Pins({(f"docker.io/library/{n}:latest", AMD64): image(n) for n in ("base", "s")})

    result = checked("\n".join(("FROM base", *instructions)))
    if result.error is not None:
        return
    again = lower(dockerfile, REQUEST, pins)

    assert isinstance(again, Lowered)
    layers = [entry for entry in again.config.history if not entry.is_empty_layer]
    base_layers = len(again.base.config.diff_ids) if again.base else 0
    assert len(layers) == base_layers + len(again.layers)
    assert set(again.layers) <= set(topological([again.root]))
