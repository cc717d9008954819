"""Instructions that change only the image's config: each maps a stage's state to the next.

All but ONBUILD leave an entry without a layer in the history.
"""

from builder.dockerfile import history
from builder.dockerfile.expansion import expanded, expanded_words
from builder.dockerfile.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    Stopsignal,
    User,
    Volume,
)
from builder.dockerfile.ports import InvalidPort, exposed
from builder.dockerfile.rules import (
    ENV_HIDDEN,
    EXPOSE_FORMAT,
    EXPOSE_PROTO_CASING,
    JSON_ARGS,
    LEGACY_KEY_VALUE,
    MULTIPLE_INSTRUCTIONS,
    SECRETS_IN_ENV,
)
from builder.dockerfile.scope import Scope
from builder.dockerfile.signals import is_signal
from builder.dockerfile.state import NEVER_IN_ENV, StageState, with_env
from builder.errors import DockerfileError
from builder.source import Span

_SECRET_WORDS = frozenset(
    {
        "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd",
        "secret", "token",
    }
)  # fmt: skip
_HARMLESS_WORDS = frozenset({"public", "file", "version"})


def env(instruction: Env, state: StageState, scope: Scope) -> StageState:
    """Set variables of the image; all words see the environment before the instruction.

    As in the reference, a name that expands to nothing is one.
    """
    pairs = _expanded_pairs(instruction, state, scope)
    _report_legacy(instruction, scope)
    for name, value in pairs:
        _report_secret("ENV", name, instruction.span, scope)
        run = state.run_config
        state = state.with_run_config(run._replace(env=with_env(run.env, name, value)))
        state = state.with_variable(name, value, instruction.span)
    return state.noted(_assignments("ENV", pairs))


def label(instruction: Label, state: StageState, scope: Scope) -> StageState:
    """Set labels of the image; kept sorted by name, as the config's JSON has them."""
    pairs = _expanded_pairs(instruction, state, scope)
    _report_legacy(instruction, scope)
    return with_labels(state, pairs).noted(_assignments("LABEL", pairs))


def with_labels(state: StageState, pairs: list[tuple[str, str]]) -> StageState:
    """Set labels without an entry in the history."""
    labels = tuple(sorted({**dict(state.run_config.labels), **dict(pairs)}.items()))
    return state.with_run_config(state.run_config._replace(labels=labels))


def arg(instruction: Arg, state: StageState, scope: Scope) -> StageState:
    """Declare arguments: a build argument, else the default, else a global one gives the value.

    Later words of the instruction see the earlier ones.
    """
    written = []
    for name, default in instruction.pairs:
        _report_secret("ARG", name, instruction.span, scope)
        value = scope.build_args.get(name)
        if value is None and default is not None:
            value = expanded(default, state, scope, instruction.span)
        elif value is None:
            value = scope.global_args.get(name)
        state = _declared(state, name, value, instruction.span, scope)
        written.append(name if value is None else f"{name}={value}")
    return state.noted(" ".join(("ARG", *written)))


def cmd(instruction: Cmd, state: StageState, scope: Scope) -> StageState:
    """Set what a container runs by default."""
    _report_repeated(state.cmd_span, instruction.keyword, scope)
    argv = _argv(instruction, state, scope)
    run = state.run_config._replace(cmd=argv, args_escaped=True)
    state = state.with_run_config(run)._replace(cmd_span=instruction.span)
    return state.noted(f"CMD {history.quoted_list(argv)}")


def entrypoint(instruction: Entrypoint, state: StageState, scope: Scope) -> StageState:
    """Set what a container's command is given to; a CMD of a base or parent is dropped."""
    _report_repeated(state.entrypoint_span, instruction.keyword, scope)
    argv = _argv(instruction, state, scope)
    run = state.run_config._replace(entrypoint=argv)
    if state.cmd_span is None:
        run = run._replace(cmd=None)
    state = state.with_run_config(run)._replace(entrypoint_span=instruction.span)
    return state.noted(f"ENTRYPOINT {history.quoted_list(argv)}")


def shell(instruction: Shell, state: StageState) -> StageState:
    """Set the shell of later shell forms, and of the image."""
    words = instruction.words
    state = state.with_run_config(state.run_config._replace(shell=words))
    return state.noted(f"SHELL {history.plain_list(words)}")


def healthcheck(instruction: Healthcheck, state: StageState, scope: Scope) -> StageState:
    """Set how to ask whether a container works."""
    _report_repeated(state.healthcheck_span, instruction.keyword, scope)
    health = instruction.health
    state = state.with_run_config(state.run_config._replace(healthcheck=health))
    state = state._replace(healthcheck_span=instruction.span)
    return state.noted(history.healthcheck(health))


def user(instruction: User, state: StageState, scope: Scope) -> StageState:
    """Set who runs commands from here on; checked only when something runs."""
    name = expanded(instruction.text, state, scope, instruction.span)
    state = state.with_run_config(state.run_config._replace(user=name))
    return state.noted(f"USER {name}")


def volume(instruction: Volume, state: StageState, scope: Scope) -> StageState:
    """Add paths that get a volume at run time; kept sorted, as the config's JSON has them.

    Raises DockerfileError.
    """
    paths = [expanded(path, state, scope, instruction.span) for path in instruction.paths]
    if "" in paths:
        raise DockerfileError(
            "VOLUME specified can not be an empty string",
            fix="write an absolute path",
            span=instruction.span,
            word=instruction.paths[paths.index("")],
        )
    volumes = tuple(sorted({*state.run_config.volumes, *paths}))
    state = state.with_run_config(state.run_config._replace(volumes=volumes))
    return state.noted(f"VOLUME {history.plain_list(paths)}")


def stop_signal(instruction: Stopsignal, state: StageState, scope: Scope) -> StageState:
    """Set the signal that ends a container; raise DockerfileError."""
    name = expanded(instruction.text, state, scope, instruction.span)
    if not is_signal(name):
        raise DockerfileError(
            f"invalid signal: {name}",
            fix="write a name like SIGTERM or a number",
            span=instruction.span,
            word=instruction.text,
        )
    state = state.with_run_config(state.run_config._replace(stop_signal=name))
    return state.noted(f"STOPSIGNAL {name}")


def expose(instruction: Expose, state: StageState, scope: Scope) -> StageState:
    """Tell of ports; words are sorted as written, ranges become single ports."""
    ports: list[str] = []
    for raw in sorted(instruction.words):
        for word in expanded_words(raw, state, scope, instruction.span):
            ports += _ports(word, instruction.span, scope)
    merged = tuple(sorted({*state.run_config.exposed_ports, *ports}))
    state = state.with_run_config(state.run_config._replace(exposed_ports=merged))
    return state.noted(f"EXPOSE {history.plain_list(ports)}")


def maintainer(instruction: Maintainer, state: StageState) -> StageState:
    """Set the image's author."""
    config = state.config._replace(author=instruction.text)
    return state._replace(config=config).noted(f"MAINTAINER {instruction.text}")


def on_build(instruction: Onbuild, state: StageState) -> StageState:
    """Store a trigger for builds on top of this image; leaves no history."""
    run = state.run_config
    return state.with_run_config(run._replace(on_build=(*run.on_build, instruction.text)))


def _declared(
    state: StageState, name: str, value: str | None, span: Span, scope: Scope
) -> StageState:
    image_names = {variable.partition("=")[0] for variable in state.run_config.env}
    if value is not None and name in image_names and state.env.get(name) != value:
        scope.checks.report(
            ENV_HIDDEN, f"ARG {name} hides the value that ENV gave {name} before", span
        )
    if value is not None and name not in NEVER_IN_ENV:
        state = state.with_variable(name, value, span)
    return state._replace(declared={**state.declared, name: value or ""})


def _argv(instruction: Cmd | Entrypoint, state: StageState, scope: Scope) -> tuple[str, ...]:
    if instruction.is_json:
        return instruction.words
    if state.run_config.shell is None:
        keyword = instruction.keyword
        scope.checks.report(
            JSON_ARGS,
            f"JSON arguments recommended for {keyword} to prevent unintended behavior related to"
            " OS signals",
            instruction.span,
        )
    return (*state.shell, instruction.text)


def _ports(word: str, span: Span, scope: Scope) -> tuple[str, ...]:
    try:
        found = exposed(word)
    except InvalidPort as error:
        raise DockerfileError(
            str(error), fix="write a port like 8080, 53/udp or 7000-7003", span=span, word=word
        ) from None
    if not found.is_protocol_lower:
        scope.checks.report(
            EXPOSE_PROTO_CASING,
            f"Defined protocol '{word}' in EXPOSE instruction should be lowercase",
            span,
        )
    if found.is_mapping:
        scope.checks.report(
            EXPOSE_FORMAT,
            "EXPOSE instruction should not define an IP address or host-port mapping, found"
            f" '{word}'",
            span,
        )
    return found.ports


def _expanded_pairs(
    instruction: Env | Label, state: StageState, scope: Scope
) -> list[tuple[str, str]]:
    span = instruction.span
    return [
        (expanded(name, state, scope, span), expanded(value, state, scope, span))
        for name, value in instruction.pairs
    ]


def _assignments(keyword: str, pairs: list[tuple[str, str]]) -> str:
    return " ".join((keyword, *(f"{name}={value}" for name, value in pairs)))


def _report_legacy(instruction: Env | Label, scope: Scope) -> None:
    if instruction.is_legacy:
        keyword = instruction.keyword
        scope.checks.report(
            LEGACY_KEY_VALUE,
            f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format',
            instruction.span,
        )


def _report_repeated(earlier: Span | None, keyword: str, scope: Scope) -> None:
    if earlier is not None:  # the earlier one is told of: it is the one without effect
        scope.checks.report(
            MULTIPLE_INSTRUCTIONS,
            f"Multiple {keyword} instructions should not be used in the same stage because only"
            " the last one will be used",
            earlier,
        )


def _report_secret(keyword: str, name: str, span: Span, scope: Scope) -> None:
    words = set(name.lower().split("_"))
    if words & _SECRET_WORDS and not words & _HARMLESS_WORDS:
        scope.checks.report(
            SECRETS_IN_ENV,
            "Do not use ARG or ENV instructions for sensitive data"
            f" ({keyword} {history.go_quote(name)})",
            span,
        )
