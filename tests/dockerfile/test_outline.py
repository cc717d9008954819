from builder.dockerfile.outline import Demand, Outline, Target, outline, targets
from builder.dockerfile.request import BuildRequest, Needs, Pins
from tests.dockerfile.builds import REQUEST, parsed, resolved


def outlined(text: str, request: BuildRequest = REQUEST) -> Outline:
    dockerfile, pins = parsed(text), Pins()
    while isinstance(result := outline(dockerfile, request, pins), Needs):
        pins = resolved(result, pins, {})
    return result


def test_targets_are_listed_as_written() -> None:
    text = "# a builds it\nFROM --platform=$P base:$V AS a\nFROM a"

    found = targets(parsed(text))

    assert [target._replace(span=found[0].span) for target in found] == [
        Target("a", "base:$V", "$P", "builds it", is_default=False, span=found[0].span),
        Target("", "a", "", "", is_default=True, span=found[0].span),
    ]


def test_arguments_in_use_are_listed_with_values_and_descriptions() -> None:
    text = (
        "# BASE is the image\nARG BASE=b\nARG UNUSED=1\nARG SHARED=s\nFROM $BASE AS x\n"
        "ARG SHARED\n# OWN is local\nARG OWN\nFROM other AS y\nARG ELSEWHERE=1\nFROM x\n"
    )
    request = REQUEST._replace(build_args=(("OWN", "given"),))

    found = outlined(text, request).arguments

    assert [(a.name, a.value, a.description) for a in found] == [
        ("BASE", "b", "is the image"),
        ("SHARED", "s", ""),
        ("OWN", "given", "is local"),
    ]


def test_what_mounts_demand_is_listed_once() -> None:
    text = (
        "FROM a\nRUN --mount=type=secret,id=s --mount=type=ssh --mount=type=cache,target=/c x\n"
        "RUN --mount=type=secret,id=s,required x\n"
    )

    found = outlined(text)

    assert [demand._replace(span=None) for demand in found.secrets] == [
        Demand("s", is_required=True, span=None)
    ]
    assert [demand.name for demand in found.agents] == ["default"]
    assert [demand.name for demand in found.caches] == ["/c"]
