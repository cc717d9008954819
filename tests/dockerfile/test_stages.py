import pytest

from builder.dockerfile.request import NamedContext
from builder.dockerfile.stages import MAX_STAGES, named_context
from builder.errors import DockerfileError, UsageError
from builder.oci.config import RunConfig
from builder.oci.platform import Platform
from tests.dockerfile.builds import (
    AMD64,
    ARM64,
    REQUEST,
    checked,
    created_by,
    lowered,
    parsed,
    steps,
)


def refusal(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        lowered(text)
    assert caught.value.span is not None
    return caught.value


def test_the_last_stage_is_the_target() -> None:
    result = lowered("FROM a\nRUN a\nFROM b\nRUN b")

    assert steps(result) == [step for step in steps(result) if "stage-1" in step]


def test_a_target_is_found_in_any_case_and_no_number_is_one() -> None:
    text = "FROM scratch AS one\nLABEL a=1\nFROM scratch"

    assert created_by(lowered(text, REQUEST._replace(target="ONE"))) == ["LABEL a=1"]
    with pytest.raises(UsageError, match='target stage "0" could not be found'):
        lowered(text, REQUEST._replace(target="0"))


def test_a_misspelt_target_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        lowered("FROM scratch AS build", REQUEST._replace(target="biuld"))

    assert caught.value.fix == "did you mean build?"


def test_of_two_stages_with_one_name_the_last_is_meant() -> None:
    text = "FROM scratch AS a\nLABEL n=1\nFROM scratch AS a\nLABEL n=2\nFROM a"

    assert created_by(lowered(text)) == ["LABEL n=2"]


def test_only_stages_that_are_needed_are_lowered() -> None:
    text = "FROM a AS a\nFROM b AS b\nFROM a AS c\nCOPY --from=0 x y\nFROM c"

    result = lowered(text)

    assert [stage.name for stage in result.stages] == ["a", "c", "stage-3"]
    assert [image.written for image in result.images] == ["a"]


def test_a_stage_can_be_named_by_number() -> None:
    result = lowered("FROM a\nRUN x\nFROM scratch\nCOPY --from=0 x y")

    assert "[stage-0 2/2] RUN x" in steps(result)


def test_an_image_can_be_copied_from() -> None:
    result = lowered("FROM scratch\nCOPY --from=busybox:1 x y\nRUN --mount=from=busybox:1,dst=/m x")

    assert [image.name for image in result.images] == ["docker.io/library/busybox:1"]
    assert [step for step in steps(result) if "FROM" in step] == [
        step for step in steps(result) if step.startswith("FROM docker.io/library/busybox")
    ]
    assert "[stage-0 1/2] COPY --from=busybox:1 x y" in steps(result)


def test_stages_cannot_copy_from_later_ones() -> None:
    error = refusal("FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\nFROM a")

    assert error.what == (
        'cannot copy from stage "b", it needs to be defined before current stage "a"'
    )


def test_rings_are_refused_even_where_nothing_needs_them() -> None:
    error = refusal(
        "FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\nCOPY --from=a x y\nFROM scratch"
    )

    assert error.what == "circular dependency detected on stage: a"


def test_a_stage_cannot_copy_from_itself() -> None:
    error = refusal("FROM scratch\nFROM scratch AS a\nCOPY --from=a x y")

    assert error.what == "circular dependency detected on stage: a"
    assert error.span is not None
    assert error.span.start.line == 3


def test_many_stages_are_no_problem_and_too_many_are() -> None:
    chain = ["FROM scratch AS s0", *(f"FROM s{i} AS s{i + 1}" for i in range(MAX_STAGES - 1))]

    assert lowered("\n".join(chain)).layers == ()
    error = refusal("\n".join((*chain, "FROM scratch")))
    assert error.what == f"the file has more than {MAX_STAGES} stages"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ARG V\nFROM $V", "base name ($V) should not be blank"),
        ("FROM a:b:c", 'failed to parse stage name "a:b:c": invalid reference format'),
        (
            "FROM Upper",
            (
                'failed to parse stage name "Upper": invalid reference format: repository name must'
                " be lowercase"
            ),
        ),
        (
            "FROM --platform=linux/$A scratch",
            (
                'failed to parse platform linux/$A: "" is an invalid component of "linux/":'
                ' platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument'
            ),
        ),
        ("FROM --platform=$A scratch", "empty platform value from expression $A"),
        (
            "FROM scratch\nCOPY --from=$A x y",
            (
                "variable expansion is not supported for --from, define a new stage with FROM using"
                " ARG from global scope as a workaround"
            ),
        ),
    ],
)
def test_names_that_lead_nowhere_are_refused(text: str, reason: str) -> None:
    assert refusal(text).what == reason


def test_base_names_see_global_arguments() -> None:
    text = 'ARG A=busy\nARG B=${A}box\nFROM "$B:$TARGETARCH"'

    assert lowered(text).images[0].name == "docker.io/library/busybox:amd64"


def test_a_platform_can_be_chosen_for_a_stage() -> None:
    request = REQUEST._replace(platform=ARM64, is_platform_given=True)
    text = "FROM --platform=$BUILDPLATFORM a AS b\nFROM c\nCOPY --from=b x y"

    result = lowered(text, request)

    assert [(image.written, image.platform) for image in result.images] == [
        ("a", AMD64),
        ("c", ARM64),
    ]
    assert result.config.platform == ARM64


def test_platforms_are_shown_when_several_are_built() -> None:
    request = REQUEST._replace(platform=ARM64, is_platform_given=True, is_multi_platform=True)
    text = "FROM --platform=$BUILDPLATFORM a AS b\nARG TARGETARCH\nRUN x\nFROM b"

    names = steps(lowered(text, request))

    assert names[0].startswith("[linux/amd64 b 1/2] FROM")
    assert names[1] == "[linux/amd64->arm64 b 2/2] RUN x"


def test_named_contexts_are_matched_by_familiar_name_and_platform() -> None:
    for_arm = NamedContext("docker.io/library/alpine:latest::linux/arm64", "image", "x")
    for_all = NamedContext("alpine", "image", "y")
    request = REQUEST._replace(contexts=(for_all, for_arm))

    assert named_context(request, "alpine:latest", ARM64) == for_arm
    assert named_context(request, "docker.io/library/alpine", AMD64) == for_all
    assert named_context(request, "alpine:3", AMD64) is None
    assert named_context(request, "scratch", AMD64) is None


def test_a_named_context_replaces_a_stage() -> None:
    contexts = (NamedContext("a", "directory"),)
    text = "FROM nowhere AS a\nRUN never\nFROM scratch\nCOPY --from=a x y"

    result = lowered(text, REQUEST._replace(contexts=contexts))

    assert result.images == ()
    assert "[context a] load from client" in steps(result)


def test_a_named_context_replaces_an_image() -> None:
    contexts = (NamedContext("busybox", "image", "docker-image://alpine:3"),)

    result = lowered("FROM busybox", REQUEST._replace(contexts=contexts))

    assert [image.name for image in result.images] == ["docker.io/library/alpine:3"]


def test_an_image_layout_is_asked_for_by_its_location() -> None:
    contexts = (NamedContext("busybox", "oci-layout", "oci-layout:///d:tag"),)

    result = lowered("FROM busybox", REQUEST._replace(contexts=contexts))

    assert result.images[0].name == "oci-layout:///d:tag"


def test_a_stage_on_a_directory_begins_with_a_layer_of_copies() -> None:
    contexts = (NamedContext("dir", "directory"),)

    result = lowered("FROM dir\nRUN x", REQUEST._replace(contexts=contexts))

    assert steps(result)[-2:] == ["[1/2] FROM dir", "[2/2] RUN x"]
    assert len(result.layers) == 2
    assert created_by(result) == [
        "RUN /bin/sh -c x # buildkit",
        "mount / from exec /bin/sh -c x",
    ]


def test_triggers_of_an_image_fire_once() -> None:
    base = RunConfig(on_build=("RUN trigger", "ENV A=1"))
    text = "FROM base AS a\nRUN own\nFROM a\nRUN last"

    result = lowered(text, images={"base": base})

    assert [step for step in steps(result) if "RUN" in step] == [
        "[a 2/4] ONBUILD RUN trigger",
        "[a 3/4] RUN own",
        "[stage-1 1/1] RUN last",
    ]
    assert result.config.config.on_build == ()


def test_triggers_of_a_stage_fire_in_its_children_alone() -> None:
    text = "FROM scratch AS a\nONBUILD LABEL n=1\nFROM a AS b\nFROM b"

    assert created_by(lowered(text)) == ["LABEL n=1"]
    assert lowered(text, REQUEST._replace(target="a")).config.config.on_build == ("LABEL n=1",)
    assert lowered(text).config.config.on_build == ()


def test_a_trigger_may_copy_from_a_stage_of_the_child() -> None:
    base = RunConfig(on_build=("COPY --from=files /x /y",))
    text = "FROM other AS files\nFROM base"

    result = lowered(text, images={"base": base})

    assert [image.written for image in result.images] == ["base", "other"]
    assert created_by(result) == ["COPY /x /y # buildkit"]


def test_a_broken_trigger_is_told_of_at_the_from() -> None:
    with pytest.raises(DockerfileError, match="RNU") as caught:
        lowered("FROM scratch AS x\nFROM base", images={"base": RunConfig(on_build=("RNU x",))})

    assert caught.value.span is not None
    assert caught.value.span.start.line == 2


def test_the_order_of_a_file_is_kept() -> None:
    names = [stage.name for stage in lowered("FROM a AS z\nFROM z AS y\nFROM y AS x").stages]

    assert names == ["z", "y", "x"]


def test_windows_has_another_shell_and_no_path() -> None:
    request = REQUEST._replace(platform=Platform("windows", "amd64"), is_platform_given=True)

    config = lowered("FROM scratch\nCMD x", request).config.config

    assert config.cmd == ("cmd", "/S", "/C", "x")
    assert config.env == ()


def test_parsing_and_lowering_twice_gives_the_same() -> None:
    text = "FROM a AS b\nRUN x\nFROM scratch\nCOPY --from=b x y"

    assert parsed(text) == parsed(text)
    assert lowered(text).root.digest == lowered(text).root.digest
    assert lowered(text).config == lowered(text).config


def test_a_context_may_stand_for_a_stage_above() -> None:
    contexts = tuple(NamedContext(name, "stage", "A") for name in ("base", "other", "replaced"))
    text = (
        "FROM scratch AS a\nCOPY a /\nFROM base:latest AS b\nCOPY b /\n"
        "FROM scratch AS replaced\nCOPY never /\n"
        "FROM b\nCOPY --from=other x /y\nCOPY --from=replaced x /z"
    )

    found = steps(lowered(text, REQUEST._replace(contexts=contexts)))

    written = ("COPY a", "COPY b", "COPY --from=other", "COPY --from=replaced")
    assert all(any(each in step for step in found) for each in written)
    assert not any("never" in step for step in found)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("FROM base\nFROM scratch AS a", "move the stage up"),
        ("FROM scratch\nCOPY --from=base x /", "the stages are stage-0"),
        ("FROM scratch AS base\nFROM base", "the stages are base, stage-1"),
    ],
)
def test_a_context_cannot_stand_for_a_stage_below(text: str, fix: str) -> None:
    request = REQUEST._replace(contexts=(NamedContext("base", "stage", "a"),))

    found = checked(text, request).error

    assert isinstance(found, DockerfileError)
    assert found.what == "context base is the stage 'a', which this file does not define above"
    assert found.fix == fix
