"""Build checks: the table of rules, the warnings they give, and how a file turns them off.

A rule is a name and a sentence for its documentation; where it is broken, the message says how.
"""

from collections.abc import Iterable

from builder.errors import DockerfileError
from builder.source import Span
from builder.text import nearest
from builder.values import NamedTuple

_ALL = "all"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_OPTIONS = ("skip", "error", "experimental")


class Rule(NamedTuple):
    """One thing that is allowed but better avoided."""

    name: str
    description: str
    is_experimental: bool = False
    """Only checked if the file asks for it."""
    is_own: bool = False
    """Not a rule of the reference builder: never fails a build that asks for `error=true`."""


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage names should be lowercase")
FROM_AS_CASING = Rule(
    "FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"
)
NO_EMPTY_CONTINUATION = Rule(
    "NoEmptyContinuation", "Empty continuation lines will become errors in a future release"
)
CONSISTENT_CASING = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
)
DUPLICATE_STAGE_NAME = Rule("DuplicateStageName", "Stage names should be unique")
RESERVED_STAGE_NAME = Rule("ReservedStageName", "Reserved words should not be used as stage names")
JSON_ARGS = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to"
    " OS signals",
)
MAINTAINER_DEPRECATED = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
)
UNDEFINED_ARG_IN_FROM = Rule("UndefinedArgInFrom", "FROM command must use declared ARGs")
WORKDIR_RELATIVE = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected"
    " results if the base image changes",
)
UNDEFINED_VAR = Rule("UndefinedVar", "Variables should be defined before their use")
MULTIPLE_INSTRUCTIONS = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
)
LEGACY_KEY_VALUE = Rule(
    "LegacyKeyValueFormat",
    "Legacy key/value format with whitespace separator should not be used",
)
BASE_PLATFORM = Rule(
    "InvalidBaseImagePlatform", "Base image platform does not match expected target platform"
)
REDUNDANT_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default"
    " behavior",
)
SECRETS_IN_ENV = Rule(
    "SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"
)
INVALID_DEFAULT_ARG = Rule(
    "InvalidDefaultArgInFrom",
    "Default value for global ARG results in an empty or invalid base image name",
)
CONSTANT_PLATFORM = Rule(
    "FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"
)
COPY_IGNORED_FILE = Rule(
    "CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore"
)
EXPOSE_PROTO_CASING = Rule(
    "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"
)
EXPOSE_FORMAT = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become"
    " an error in a future release",
)
DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "Comment for build stage or argument should follow the format: `# <arg/stage name>"
    " <description>`. If this is not intended to be a description comment, add an empty line or"
    " comment between the instruction and the comment.",
    is_experimental=True,
)
LINK_DROPPED = Rule(
    "LinkWithoutEffect", "COPY --link has no effect together with --chmod", is_own=True
)
ENV_HIDDEN = Rule(
    "EnvHiddenByArg", "An ARG below an ENV of its name hides the ENV until the stage's end",
    is_own=True,
)  # fmt: skip
JSON_BROKEN = Rule(
    "JSONFormBroken",
    "What begins like a JSON array but is none is taken as plain text",
    is_own=True,
)
UNUSED_BUILD_ARG = Rule(
    "UnusedBuildArg", "Build arguments should be declared by an ARG", is_own=True
)

RULES: tuple[Rule, ...] = (
    STAGE_NAME_CASING, FROM_AS_CASING, NO_EMPTY_CONTINUATION, CONSISTENT_CASING,
    DUPLICATE_STAGE_NAME, RESERVED_STAGE_NAME, JSON_ARGS, MAINTAINER_DEPRECATED,
    UNDEFINED_ARG_IN_FROM, WORKDIR_RELATIVE, UNDEFINED_VAR, MULTIPLE_INSTRUCTIONS,
    LEGACY_KEY_VALUE, BASE_PLATFORM, REDUNDANT_PLATFORM, SECRETS_IN_ENV, INVALID_DEFAULT_ARG,
    CONSTANT_PLATFORM, COPY_IGNORED_FILE, EXPOSE_PROTO_CASING, EXPOSE_FORMAT, DESCRIPTION,
    LINK_DROPPED, ENV_HIDDEN, JSON_BROKEN, UNUSED_BUILD_ARG,
)  # fmt: skip


class Warning(NamedTuple):  # noqa: A001 - the word that users see
    """A rule was broken at a place."""

    rule: str
    message: str
    span: Span
    description: str = ""
    is_own: bool = False
    """Not one of the reference builder's."""

    def __str__(self) -> str:
        """Write it in one line, as at the end of a build."""
        return f"{self.rule}: {self.message} (line {self.span.start.line})"


class CheckOptions(NamedTuple):
    """What a file says about its own checking."""

    skipped: frozenset[str] = frozenset()
    is_error: bool = False
    experimental: frozenset[str] = frozenset()


class InvalidCheckOption(ValueError):
    """A `check=` text is malformed; the text says where."""


def check_options(text: str) -> CheckOptions:
    """Read `skip=A,B;error=true;experimental=all`; raise InvalidCheckOption."""
    options = CheckOptions()
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, equals, value = (word.strip() for word in part.partition("="))
        names = frozenset(word.strip() for word in value.split(",")) - {""}
        if name not in _OPTIONS or not equals:
            raise InvalidCheckOption(f'invalid check option "{part}"')
        if name == "skip":
            options = options._replace(skipped=names)
        elif name == "experimental":
            options = options._replace(experimental=names)
        elif value in _TRUE | _FALSE:
            options = options._replace(is_error=value in _TRUE)
        else:
            raise InvalidCheckOption(f'failed to parse check option "{part}"')
    return options


class Checks:
    """Collects warnings, without those that are turned off for the file or an instruction."""

    def __init__(self, options: CheckOptions, warnings: list[Warning] | None = None) -> None:
        """Begin with no warnings, or add to a list that is shared."""
        self._options = options
        self._warnings: list[Warning] = [] if warnings is None else warnings

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """Give what was collected, in order."""
        return tuple(self._warnings)

    def below(self, comments: Iterable[str]) -> "Checks":
        """Give the checks for one instruction, with what the comments above it turn off."""
        options = self._options
        for comment in comments:
            name, equals, value = comment.strip().removeprefix("#").partition("=")
            if equals and name.strip().lower() == "check":
                try:
                    local = check_options(value)
                except InvalidCheckOption:
                    continue
                options = CheckOptions(
                    options.skipped | local.skipped,
                    options.is_error,
                    options.experimental | local.experimental,
                )
        return self if options is self._options else Checks(options, self._warnings)

    def report(self, rule: Rule, message: str, span: Span) -> None:
        """Add a warning, unless the rule is turned off."""
        if _names(self._options.skipped, rule):
            return
        if rule.is_experimental and not _names(self._options.experimental, rule):
            return
        self._warnings.append(Warning(rule.name, message, span, rule.description, rule.is_own))

    def raise_if_own(self) -> None:
        """Raise DockerfileError if a rule is broken that only `--strict` makes an error."""
        broken = [warning for warning in self._warnings if warning.is_own]
        if broken:
            raise DockerfileError(
                "; ".join(dict.fromkeys(warning.message for warning in broken)),
                fix="correct it, or build without --strict",
                span=broken[0].span,
            )

    def raise_if_strict(self) -> None:
        """Raise DockerfileError if the file demands that there be no warnings."""
        if not self._options.is_error:
            return
        broken = [warning for warning in self._warnings if not warning.is_own]
        names = dict.fromkeys(warning.rule for warning in broken)
        if names:
            raise DockerfileError(
                f"lint violation found for rules: {', '.join(names)}",
                fix="; ".join(map(str, broken)),
                span=broken[0].span,
            )


def did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Suggest the nearest known name, in brackets after a space; empty if none is near."""
    found = nearest(word, known)
    return f" (did you mean {prefix}{found}?)" if found else ""


def _names(names: frozenset[str], rule: Rule) -> bool:
    return rule.name in names or _ALL in names
