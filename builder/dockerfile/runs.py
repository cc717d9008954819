"""RUN: one vertex that runs a process, with exactly what its result depends on."""

from builder.dockerfile import history
from builder.dockerfile.expansion import expanded, shown_run
from builder.dockerfile.inputs import Inputs
from builder.dockerfile.instructions import Run
from builder.dockerfile.mounts import InvalidMount, MountOptions, mount_options
from builder.dockerfile.naming import script_summary, upper_keyword
from builder.dockerfile.paths import base_name, clean
from builder.dockerfile.request import BuildRequest
from builder.dockerfile.scope import Scope
from builder.dockerfile.state import StageState
from builder.errors import Denied, DockerfileError
from builder.graph import ops
from builder.graph.vertex import Input, Selector, Vertex
from builder.source import Span

PIPES = "/dev/pipes"
DEFAULT_HOSTNAME = "buildkitsandbox"
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_SECRETS = "/run/secrets"
_AGENT = "/run/buildkit/ssh_agent"
_HIDDEN = "****"


def run(instruction: Run, state: StageState, scope: Scope) -> StageState:
    """Lower a RUN; its layer is what the process changes."""
    state = state._replace(step=state.step + 1)
    argv, script = _command(instruction, state)
    inputs = Inputs(state.root)
    options = [_options(text, instruction, state, scope) for text in instruction.mounts]
    mounts = _mounts(options, instruction, state, inputs, scope)
    if script is not None:
        mounts = (script, *mounts)
    op = _exec(argv, mounts, instruction, state, scope)
    vertex = Vertex(
        op,
        inputs.done(),
        name=scope.name(state, _shown(instruction, options, state, scope)),
        span=instruction.span,
        is_ignoring_cache=scope.is_ignoring_cache,
    )
    text = history.run(argv, state.declared, state.env) + history.LAYER_SUFFIX
    return state.layered(vertex, text)


def proxy_env(request: BuildRequest) -> tuple[str, ...]:
    """List the predefined proxies that were given as build arguments, in both cases."""
    given = {name.lower(): value for name, value in sorted(request.build_args)}
    pairs = [(name, given[name]) for name in _PROXIES if name in given]
    return tuple(f"{spelt}={value}" for name, value in pairs for spelt in (name.upper(), name))


def _command(instruction: Run, state: StageState) -> tuple[tuple[str, ...], ops.ScriptMount | None]:
    if instruction.is_json:
        return instruction.words, None
    heredocs = instruction.heredocs
    if not heredocs:
        return (*state.shell, instruction.text), None
    if not instruction.is_script:
        documents = "".join(f"\n{heredoc.raw}{heredoc.name}" for heredoc in heredocs)
        return (*state.shell, instruction.text + documents), None
    content = heredocs[0].content
    if not content.startswith("#!") or state.platform.os == "windows":
        return (*state.shell, content), None
    target = f"{PIPES}/{heredocs[0].name}"
    return (*state.shell, target), ops.ScriptMount(target, content)


def _exec(
    argv: tuple[str, ...],
    mounts: tuple[ops.Mount, ...],
    instruction: Run,
    state: StageState,
    scope: Scope,
) -> ops.Exec:
    request = scope.request
    hostname = scope.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or request.hostname
    return ops.Exec(
        argv,
        tuple(f"{name}={value}" for name, value in state.env.items()),
        state.workdir,
        state.run_config.user,
        mounts,
        network=_network(instruction, scope),
        security=_security(instruction, scope),
        hostname=hostname or DEFAULT_HOSTNAME,
        extra_hosts=request.extra_hosts,
        shm_size_bytes=request.shm_size_bytes,
        ulimits=request.ulimits,
        devices=_devices(instruction, scope),
        cgroup_parent=request.cgroup_parent,
        proxy_env=proxy_env(request),
    )


def _options(text: str, instruction: Run, state: StageState, scope: Scope) -> MountOptions:
    try:
        return mount_options(text, lambda value: expanded(value, state, scope, instruction.span))
    except InvalidMount as error:
        raise DockerfileError(
            str(error), fix=error.fix, span=instruction.span, word=error.word or text
        ) from None


def _mounts(
    options: list[MountOptions],
    instruction: Run,
    state: StageState,
    inputs: Inputs,
    scope: Scope,
) -> tuple[ops.Mount, ...]:
    mounts: list[ops.Mount] = []
    agents = 0
    for option in options:
        match option.type:
            case "secret":
                mounts.append(_secret(option, state))
            case "ssh":
                mounts.append(_agent(option, agents, state))
                agents += 1
            case "tmpfs":
                target = _target(option, state, instruction.span)
                mounts.append(ops.TmpfsMount(target, option.size_bytes))
            case "cache":
                mounts.append(_cache(option, instruction, state, inputs, scope))
            case "bind":
                mounts.append(_bind(option, instruction, state, inputs, scope))
    return tuple(mounts)


def _bind(
    option: MountOptions, instruction: Run, state: StageState, inputs: Inputs, scope: Scope
) -> ops.BindMount:
    files = scope.context
    if option.from_name:
        files = scope.find(option.from_name, instruction.span)
    source = clean(option.source)
    if files.is_context:
        number = inputs.whole(_copied(files.vertex, source, instruction.span))
    else:
        number = inputs.part(files.vertex, Selector(source))
    target = _target(option, state, instruction.span)
    return ops.BindMount(target, number, source, option.is_read_only is False)


def _copied(context: Vertex, source: str, span: Span) -> Vertex:
    """Take what a mount shows of a client directory into the store: a step of its own."""
    action = ops.Copy(1, source, source, allow_wildcard=False)
    inputs = (Input(Vertex(ops.Scratch())), Input(context, (Selector(source),)))
    return Vertex(ops.Files((action,)), inputs, name=context.name, span=span)


def _cache(
    option: MountOptions, instruction: Run, state: StageState, inputs: Inputs, scope: Scope
) -> ops.CacheMount:
    number, source = None, clean(option.source)
    if option.from_name:
        files = scope.find(option.from_name, instruction.span)
        number = inputs.part(files.vertex, Selector(source))
    target = _target(option, state, instruction.span)
    namespace = scope.build_args.get("BUILDKIT_CACHE_MOUNT_NS", "")
    name = option.id or clean(option.target, state.workdir)
    return ops.CacheMount(
        target,
        f"{namespace}/{name}" if namespace else name,
        option.sharing or "shared",
        number,
        source,
        0o755 if option.mode_bits is None else option.mode_bits,
        option.uid or 0,
        option.gid or 0,
        is_read_only=bool(option.is_read_only),
    )


def _secret(option: MountOptions, state: StageState) -> ops.SecretMount:
    name = option.source or option.id or base_name(option.target)
    target = option.target
    if not target and option.env is None:
        target = f"{_SECRETS}/{base_name(name)}"
    return ops.SecretMount(
        name,
        clean(target, state.workdir) if target else "",
        option.env or "",
        option.is_required,
        0o400 if option.mode_bits is None else option.mode_bits,
        option.uid or 0,
        option.gid or 0,
    )


def _agent(option: MountOptions, number: int, state: StageState) -> ops.SshMount:
    return ops.SshMount(
        option.id or "default",
        clean(option.target or f"{_AGENT}.{number}", state.workdir),
        option.is_required,
        0o600 if option.mode_bits is None else option.mode_bits,
        option.uid or 0,
        option.gid or 0,
    )


def _target(option: MountOptions, state: StageState, span: Span) -> str:
    target = clean(option.target, state.workdir)
    if target == "/":
        raise DockerfileError(
            f'invalid mount target "{target}"',
            fix="give target= a directory below /",
            span=span,
            word=option.target,
        )
    return target


def _network(instruction: Run, scope: Scope) -> ops.Network:
    if instruction.network == "none":
        return "none"
    if instruction.network != "host":
        return scope.request.network
    _demand("network.host", "--network=host", instruction, scope)
    return "host"


def _security(instruction: Run, scope: Scope) -> ops.Security:
    if instruction.security != "insecure":
        return "sandbox"
    _demand("security.insecure", "--security=insecure", instruction, scope)
    return "insecure"


def _devices(instruction: Run, scope: Scope) -> tuple[str, ...]:
    for device in instruction.devices:
        if "device" not in scope.request.entitlements:
            name = device.partition(",")[0]
            _demand(f"device={name}", name, instruction, scope)
    return (*scope.request.devices, *instruction.devices)


def _demand(entitlement: str, word: str, instruction: Run, scope: Scope) -> None:
    """Raise Denied unless the build was allowed something."""
    if entitlement not in scope.request.entitlements:
        raise Denied(
            f"{entitlement.replace('=', ' ', 1)} is not allowed",
            fix=f"add --allow {entitlement} to the build",
            span=instruction.span,
            word=word,
        )


def _shown(instruction: Run, options: list[MountOptions], state: StageState, scope: Scope) -> str:
    hidden = {option.env: _HIDDEN for option in options if option.env}
    text = upper_keyword(instruction.original)
    if instruction.heredocs and instruction.is_script:
        text += f" ({script_summary(instruction.heredocs[0].raw)})"
    return shown_run(text, {**state.env, **hidden}, scope)
