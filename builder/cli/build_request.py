"""From the options of `build` to a BuildRequest: everything that can be wrong is found here."""

from collections.abc import Mapping, Sequence

from builder.cli import values
from builder.cli.options import Arguments
from builder.cli.session import Session
from builder.engine.request import Agent, BuildRequest, Call, Explain, Secret, Ulimit
from builder.errors import UsageError
from builder.exporters.output import Output, check_outputs, parse_output
from builder.oci.platform import Platform, parse_platform
from builder.text import nearest

ENTITLEMENTS = ("network.host", "security.insecure", "device")
NETWORKS = ("default", "none", "host", "bridge")
# fmt: off
ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
    "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
)
# fmt: on
_SECRET_KEYS = ("id", "src", "source", "env", "type")


def build_request(arguments: Arguments, session: Session) -> BuildRequest:
    """Read all options; raise UsageError for the first that makes no sense."""
    _refuse_attestations(arguments)
    environ = session.environ
    shm = arguments.value("shm-size")
    memory = arguments.value("memory")
    cpus = arguments.value("cpus")
    explain = arguments.value("explain") or ""
    call, is_call_json = _call(arguments)
    request = BuildRequest(
        context=_context(arguments),
        dockerfile=arguments.value("file"),
        target=arguments.value("target"),
        tags=arguments.values("tag"),
        build_args=_build_args(arguments.values("build-arg"), environ),
        labels=tuple(_label(text) for text in arguments.values("label")),
        contexts=_pairs(arguments, "build-context"),
        secrets=tuple(_secret(text, environ) for text in arguments.values("secret")),
        agents=tuple(_agent(text) for text in arguments.values("ssh")),
        platforms=_platforms(arguments.values("platform")),
        outputs=_outputs(arguments, session),
        annotations=arguments.values("annotation"),
        add_hosts=tuple(host_address(text) for text in arguments.values("add-host")),
        network=_network(arguments.value("network")),
        entitlements=_entitlements(arguments.values("allow")),
        shm_size_bytes=None if shm is None else values.size_bytes(shm),
        ulimits=tuple(ulimit(text) for text in arguments.values("ulimit")),
        cgroup_parent=arguments.value("cgroup-parent"),
        memory_bytes=None if memory is None else values.size_bytes(memory),
        cpus=None if cpus is None else values.decimal(cpus, "--cpus"),
        options=_pairs(arguments, "opt"),
        is_cache_ignored=arguments.flag("no-cache"),
        ignored_stages=_words(arguments.values("no-cache-filter")),
        is_pulling=arguments.flag("pull"),
        cache_from=_caches(arguments, "cache-from"),
        cache_to=_caches(arguments, "cache-to"),
        call=call,
        is_call_json=is_call_json,
        explain=_explain(explain),
        is_strict=arguments.flag("strict"),
        is_locked=arguments.flag("locked"),
        is_offline=arguments.flag("offline"),
        is_squashed=arguments.flag("squash"),
    )
    _check_offline(request)
    return request


def progress_kind(arguments: Arguments, session: Session) -> str:
    """Choose the display: the option, else BUILDKIT_PROGRESS, else what fits the stream."""
    if arguments.flag("quiet"):
        return "quiet"
    return arguments.value("progress") or session.environ.get("BUILDKIT_PROGRESS") or "auto"


def host_address(text: str) -> tuple[str, str]:
    """Read `host:ip` or `host=ip`; the address may be IPv6, in brackets or not, or host-gateway.

    Raises UsageError.
    """
    name, separator, address = text.partition("=" if "=" in text else ":")
    address = address.removeprefix("[").removesuffix("]")
    if not name or not separator or not address:
        raise UsageError(f"--add-host takes HOST:IP, not {text!r}")
    if address != "host-gateway":
        _check_address(address, text)
    return name, address


def _check_address(address: str, text: str) -> None:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except OSError:
            continue
        return
    raise UsageError(f"{address!r} in --add-host {text} is no IP address")


def ulimit(text: str) -> Ulimit:
    """Read `name=soft[:hard]`; -1 or `unlimited` is no limit.

    Raises UsageError.
    """
    name, limits = values.key_value(text, "--ulimit")
    if name not in ULIMITS:
        raise UsageError(f"there is no ulimit {name!r}", fix=_did_you_mean(name, ULIMITS))
    soft, _, hard = limits.partition(":")
    limit = Ulimit(name, _limit(soft), _limit(hard or soft))
    if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
        raise UsageError(f"the soft limit of --ulimit {text} is above the hard one")
    return limit


def _limit(text: str) -> int:
    return -1 if text == "unlimited" else values.integer(text, "--ulimit", minimum=-1)


def _context(arguments: Arguments) -> str:
    [context] = arguments.words
    if not context:
        raise UsageError("the build context is an empty word", fix="give a directory, such as .")
    if context == arguments.value("file") == "-":
        raise UsageError("both the Dockerfile and the context are to come from standard input")
    return context


def _build_args(texts: Sequence[str], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Split at `=`; a bare name takes the caller's variable, or is left out without one."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--build-arg takes NAME or NAME=VALUE, not {text!r}")
        if equals:
            pairs.append((name, value))
        elif name in environ:
            pairs.append((name, environ[name]))
    return tuple(pairs)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise UsageError(f"--label takes KEY=VALUE, not {text!r}")
    return name, value


def _pairs(arguments: Arguments, key: str) -> tuple[tuple[str, str], ...]:
    return tuple(values.key_value(text, f"--{key}") for text in arguments.values(key))


def _caches(arguments: Arguments, key: str) -> tuple[str, ...]:
    """Check what is said of caches: a mistake is found before anything runs."""
    texts = arguments.values(key)
    if texts:
        from builder.engine.cache_spec import parse_cache

        for text in texts:
            parse_cache(text, f"--{key}")
    return texts


def _words(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


def _platforms(texts: Sequence[str]) -> tuple[Platform, ...]:
    return tuple(dict.fromkeys(parse_platform(word) for word in _words(texts)))


def _secret(text: str, environ: Mapping[str, str]) -> Secret:
    """Read `id=x,src=f`, `id=x,env=V`, or a bare ID: the variable of that name, else the file."""
    found: dict[str, str] = {}
    for key, value in values.csv_pairs(text):
        if key not in _SECRET_KEYS or value is None:
            raise UsageError(
                f"--secret does not know {key!r} in {text!r}", fix=_did_you_mean(key, _SECRET_KEYS)
            )
        found["src" if key == "source" else key] = value
    identity = found.get("id") or found.get("src")
    if not identity:
        raise UsageError(f"--secret {text} has no id", fix="write id=NAME,src=FILE")
    return _located_secret(identity, found, environ)


def _located_secret(identity: str, found: Mapping[str, str], environ: Mapping[str, str]) -> Secret:
    kind = found.get("type", "")
    if kind not in {"", "file", "env"}:
        raise UsageError(f"--secret has no type {kind!r}", fix="use file or env")
    if "env" in found:
        return Secret(identity, variable=found["env"])
    source = found.get("src")
    if kind == "env":
        return Secret(identity, variable=source or identity)
    if source is not None:
        return Secret(identity, path=source)
    if kind == "" and identity in environ:
        return Secret(identity, variable=identity)
    return Secret(identity, path=identity)


def _agent(text: str) -> Agent:
    identity, _, paths = text.partition("=")
    if not identity:
        raise UsageError(f"--ssh takes default or ID=SOCKET, not {text!r}")
    return Agent(identity, tuple(path for path in paths.split(",") if path))


def _network(mode: str | None) -> str:
    if mode is None or mode in {"", "bridge"}:
        return "default"
    if mode not in NETWORKS:
        raise UsageError(f"a build has no network {mode!r}", fix="use default, none or host")
    return mode


def _entitlements(texts: Sequence[str]) -> tuple[str, ...]:
    words = _words(texts)
    for word in words:
        if word.partition("=")[0] not in ENTITLEMENTS:
            fix = _did_you_mean(word, ENTITLEMENTS)
            raise UsageError(f"there is no entitlement {word!r}", fix=fix)
    return words


def _outputs(arguments: Arguments, session: Session) -> tuple[Output, ...]:
    """Read the destinations; the local image store if there is none."""
    outputs = [parse_output(text) for text in arguments.values("output")]
    if arguments.flag("load") or not outputs:
        outputs.append(Output("image"))
    if arguments.flag("push"):
        if not any(output.type == "image" for output in outputs):
            outputs.append(Output("image"))
        outputs = [output._replace(is_pushed=output.type == "image") for output in outputs]
    check_outputs(outputs, is_stdout_terminal=session.is_stdout_tty)
    return tuple(outputs)


def _call(arguments: Arguments) -> tuple[Call, bool]:
    """Read `--check` and `--call METHOD[,format=json]`; tell whether the answer is to be JSON."""
    name, comma, options = (arguments.value("call") or "build").partition(",")
    if comma and options not in {"format=json", "format=text"}:
        raise UsageError(f"--call has no option {options!r}", fix="write --call=check,format=json")
    is_json = options == "format=json"
    if arguments.flag("check"):
        return "check", is_json
    match name:
        case "check" | "lint":
            return "check", is_json
        case "build" | "outline" | "targets":
            return name, is_json
        case _:
            known = ("build", "check", "outline", "targets")
            raise UsageError(f"there is no call {name!r}", fix=_did_you_mean(name, known))


def _explain(text: str) -> Explain:
    match text:
        case "text" | "json":
            return text
        case _:
            return ""


def _refuse_attestations(arguments: Arguments) -> None:
    for key in ("provenance", "sbom"):
        if arguments.value(key) not in {None, "false", "0"}:
            raise UsageError(f"builder writes no attestation, so --{key} is refused")


def _check_offline(request: BuildRequest) -> None:
    if not request.is_offline:
        return
    from builder.engine.cache_spec import parse_cache

    is_pushing = any(output.is_pushed for output in request.outputs)
    caches = [parse_cache(text, "--cache-to") for text in request.cache_to]
    is_exporting = any(cache.type == "registry" for cache in caches)
    for key, is_given in (
        ("pull", request.is_pulling),
        ("push", is_pushing),
        ("cache-to type=registry", is_exporting),
    ):
        if is_given:
            raise UsageError(f"--{key} needs the network that --offline forbids")


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"use one of {', '.join(known)}"
