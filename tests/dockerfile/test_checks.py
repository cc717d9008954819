import pytest

from builder.dockerfile.rules import (
    RULES,
    CheckOptions,
    InvalidCheckOption,
    check_options,
)
from builder.errors import DockerfileError, UsageError
from builder.oci.config import RunConfig
from builder.oci.platform import Platform
from tests.dockerfile.builds import ARM64, REQUEST, checked, lowered, rules


def messages(text: str) -> list[str]:
    return [warning.message for warning in checked(text).warnings]


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("FROM scratch AS Upper", "StageNameCasing", 1),
        ("FROM scratch as lower", "FromAsCasing", 1),
        ("from scratch AS upper", "FromAsCasing", 1),
        ("FROM scratch\nLABEL a=1 \\\n\n b=2", "NoEmptyContinuation", 2),
        ("FROM scratch\nUSER a\nenv A=1", "ConsistentInstructionCasing", 3),
        ("FROM scratch AS a\nFROM scratch AS a", "DuplicateStageName", 2),
        ("FROM scratch AS context", "ReservedStageName", 1),
        ("FROM scratch\nCMD a", "JSONArgsRecommended", 2),
        ("FROM scratch\nENTRYPOINT a", "JSONArgsRecommended", 2),
        ("FROM scratch\nMAINTAINER a", "MaintainerDeprecated", 2),
        ("FROM a$B", "UndefinedArgInFrom", 1),
        ("FROM scratch\nWORKDIR a", "WorkdirRelativePath", 2),
        ("FROM scratch\nUSER $A", "UndefinedVar", 2),
        ('FROM scratch\nCMD ["a"]\nCMD ["b"]', "MultipleInstructionsDisallowed", 2),
        ("FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK NONE", "MultipleInstructionsDisallowed", 2),
        ("FROM scratch\nENV a b", "LegacyKeyValueFormat", 2),
        ("FROM scratch\nLABEL a b", "LegacyKeyValueFormat", 2),
        ("FROM --platform=$TARGETPLATFORM scratch", "RedundantTargetPlatform", 1),
        ("FROM scratch\nARG API_TOKEN", "SecretsUsedInArgOrEnv", 2),
        ("FROM scratch\nENV password=x", "SecretsUsedInArgOrEnv", 2),
        ("FROM --platform=linux/amd64 scratch", "FromPlatformFlagConstDisallowed", 1),
        ("FROM scratch\nEXPOSE 80/TCP", "ExposeProtoCasing", 2),
        ("FROM scratch\nEXPOSE 1:80", "ExposeInvalidFormat", 2),
        ("#check=experimental=all\nFROM scratch\n# no\nARG A=1", "InvalidDefinitionDescription", 4),
        ("FROM scratch\nRUN ['a']", "JSONFormBroken", 2),
    ],
)
def test_each_rule_is_found_at_its_line(text: str, rule: str, line: int) -> None:
    assert (rule, line) in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch AS lower",
        "from scratch as lower",
        'FROM scratch\nSHELL ["/bin/x"]\nCMD a',
        "FROM scratch\nWORKDIR /a\nWORKDIR b",
        "FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b",
        "FROM scratch\nARG A\nUSER $A",
        "FROM scratch\nENV PUBLIC_KEY=1 TOKEN_FILE=2 tokens=3",
        "FROM --platform=linux/amd64 scratch AS amd64-base",
        "FROM --platform=$BUILDPLATFORM scratch",
        'FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]',
        "FROM scratch\n# no\nARG A=1",
        "#check=experimental=all\nFROM scratch\n# A is it\nARG A=1",
        "FROM scratch\nRUN a $UNKNOWN",
        "ARG A=1\nFROM a$A",
    ],
)
def test_good_style_is_left_alone(text: str) -> None:
    assert rules(text) == []


def test_suggestions_are_made() -> None:
    assert messages("FROM scratch\nENV VERSION=1\nUSER $VERSOIN") == [
        "Usage of undefined variable '$VERSOIN' (did you mean $VERSION?)"
    ]
    assert messages("ARG VERSION=1\nFROM a$VERSOIN") == [
        "FROM argument 'VERSOIN' is not declared (did you mean VERSION?)"
    ]


def test_a_default_that_leaves_no_image_name_is_found() -> None:
    request = REQUEST._replace(build_args=(("TAG", "1"),))

    result = lowered("ARG TAG\nFROM busybox:$TAG", request)

    assert [str(warning) for warning in result.warnings] == [
        (
            "InvalidDefaultArgInFrom: Default value for ARG busybox:$TAG results in empty or"
            " invalid base image name (line 2)"
        )
    ]


def test_a_base_for_another_platform_is_told_of() -> None:
    request = REQUEST._replace(platform=ARM64, is_platform_given=True)
    text = "FROM --platform=$BUILDPLATFORM a"

    assert rules(text, request) == []


def test_unknown_build_arguments_are_told_of() -> None:
    given = (("VERSOIN", "1"), ("http_proxy", "x"), ("BUILDKIT_X", "1"), ("TARGETOS", "linux"))

    result = lowered("FROM scratch\nARG VERSION", REQUEST._replace(build_args=given))

    assert [warning.message for warning in result.warnings] == [
        "Build argument VERSOIN is not declared by any ARG (did you mean VERSION?)"
    ]
    assert result.warnings[0].is_own


@pytest.mark.parametrize(
    ("text", "triggers"),
    [
        ("FROM base\nRUN echo", ("ARG GIVEN=1 OTHER",)),
        ("FROM base\nONBUILD ARG GIVEN", ()),
        ("FROM base AS a\nONBUILD ARG GIVEN\nFROM a", ()),
    ],
)
def test_a_trigger_that_declares_a_build_argument_uses_it(
    text: str, triggers: tuple[str, ...]
) -> None:
    request = REQUEST._replace(build_args=(("GIVEN", "1"),))

    result = lowered(text, request, {"base": RunConfig(on_build=triggers)})

    assert result.warnings == ()


def test_only_needed_stages_are_folded_but_all_are_read() -> None:
    text = "FROM scratch AS a\nUSER $A\nFROM scratch AS B"

    assert [warning.rule for warning in lowered(text).warnings] == ["StageNameCasing"]
    assert ("UndefinedVar", 2) in rules(text)


def test_rules_can_be_skipped_for_the_file() -> None:
    text = "FROM scratch as B\nUSER $A"

    assert rules(f"# check=skip=FromAsCasing,UndefinedVar\n{text}") == [("StageNameCasing", 2)]
    assert rules(f"# check=skip=all\n{text}") == []


def test_rules_can_be_skipped_for_one_instruction() -> None:
    text = "FROM scratch\n# check=skip=UndefinedVar\nUSER $A\nUSER $B"

    assert rules(text) == [("UndefinedVar", 4)]


def test_warnings_can_be_errors() -> None:
    with pytest.raises(DockerfileError) as caught:
        lowered("# check=error=true\nFROM scratch as A\nUSER $B")

    assert caught.value.what == (
        "lint violation found for rules: FromAsCasing, StageNameCasing, UndefinedVar"
    )


def test_rules_that_the_reference_lacks_are_no_errors() -> None:
    text = "# check=error=true\nFROM scratch\nCOPY --link --chmod=1 a b"

    assert [warning.rule for warning in lowered(text).warnings] == ["LinkWithoutEffect"]


def test_a_build_argument_replaces_the_directive() -> None:
    request = REQUEST._replace(build_args=(("BUILDKIT_DOCKERFILE_CHECK", "skip=all"),))

    assert lowered("# check=error=true\nFROM scratch as A", request).warnings == ()


def test_malformed_options_are_refused() -> None:
    with pytest.raises(DockerfileError, match='invalid check option "x=1"') as caught:
        lowered("# check=x=1\nFROM scratch")
    assert caught.value.span is not None
    with pytest.raises(UsageError, match="BUILDKIT_DOCKERFILE_CHECK"):
        lowered("FROM scratch", REQUEST._replace(build_args=(("BUILDKIT_DOCKERFILE_CHECK", "x"),)))


def test_options_are_read() -> None:
    assert check_options(" skip = A, B ; error=true;experimental=C ") == CheckOptions(
        frozenset("AB"), is_error=True, experimental=frozenset("C")
    )
    with pytest.raises(InvalidCheckOption):
        check_options("error=maybe")


def test_names_of_rules_are_unique_and_described() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.description for rule in RULES)


def test_platforms_of_bases_are_compared_without_variants() -> None:
    request = REQUEST._replace(platform=Platform("linux", "arm64", "v8"), is_platform_given=True)

    assert rules("FROM a", request) == []
