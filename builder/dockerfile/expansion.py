"""Variable expansion in the state of a stage: errors get a place, unknown variables a warning."""

from collections.abc import Mapping

from builder.dockerfile.rules import UNDEFINED_VAR, Checks, did_you_mean
from builder.dockerfile.scope import Scope
from builder.dockerfile.state import NEVER_IN_ENV, StageState
from builder.dockerfile.words import (
    BODY,
    NAME,
    SHELL,
    Expansion,
    InvalidWord,
    Style,
    expand,
)
from builder.errors import DockerfileError
from builder.source import Span


def expanded(text: str, state: StageState, scope: Scope, span: Span) -> str:
    """Expand a word and remove its quotes; raise DockerfileError."""
    return _in_state(text, state, scope, SHELL._replace(escape=scope.escape), span).text


def expanded_words(text: str, state: StageState, scope: Scope, span: Span) -> tuple[str, ...]:
    """Expand a text and split it at unquoted white space; no warnings are given."""
    return in_place(text, state.env, SHELL._replace(escape=scope.escape), span).words


def expanded_document(text: str, state: StageState, scope: Scope, span: Span) -> str:
    """Expand a here-document: quotes are ordinary characters there."""
    return _in_state(text, state, scope, BODY, span).text


def shown(text: str, state: StageState, scope: Scope) -> str:
    """Expand the text of an instruction for display; as it is if that is impossible."""
    return _for_display(text, state.env, SHELL._replace(escape=scope.escape))


def shown_run(text: str, env: Mapping[str, str], scope: Scope) -> str:
    """Fill what is known into the text of a RUN for display; quotes and unknown ones stay."""
    return _for_display(text, env, NAME._replace(escape=scope.escape))


def in_place(text: str, variables: Mapping[str, str], style: Style, span: Span) -> Expansion:
    """Expand a text; raise DockerfileError at the place where it was written."""
    try:
        return expand(text, variables, style)
    except InvalidWord as error:
        raise DockerfileError(
            str(error), fix="check quotes and ${…} forms, or escape the $", span=span, word=text
        ) from None


def report_undefined(
    unmatched: frozenset[str], env: Mapping[str, str], checks: Checks, span: Span
) -> None:
    """Warn of variables that nothing set, in alphabetical order."""
    for name in sorted(unmatched):
        suggestion = did_you_mean(name, env, "$")
        checks.report(UNDEFINED_VAR, f"Usage of undefined variable '${name}'{suggestion}", span)


def _in_state(text: str, state: StageState, scope: Scope, style: Style, span: Span) -> Expansion:
    result = in_place(text, state.env, style, span)
    unmatched = result.unmatched - state.declared.keys() - NEVER_IN_ENV
    if unmatched:
        report_undefined(unmatched, state.env, scope.checks, span)
    return result


def _for_display(text: str, env: Mapping[str, str], style: Style) -> str:
    try:
        return expand(text, env, style).text
    except InvalidWord:
        return text
