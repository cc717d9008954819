"""builder.cli.build_request: the options of `build` as a request."""

import pytest

from builder.cli.argv import parse
from builder.cli.build_request import build_request, progress_kind
from builder.cli.commands.build import COMMAND
from builder.cli.session import Session
from builder.engine.request import Agent, BuildRequest, Secret, Ulimit
from builder.engine.settings import Settings
from builder.errors import UsageError
from builder.exporters.output import Output
from builder.oci.platform import Platform

ENVIRON = {"TOKEN": "t", "FROM_CALLER": "yes"}


def request(*words: str) -> BuildRequest:
    session = Session(Settings("/nonexistent"), ENVIRON)
    return build_request(parse(COMMAND, [*words, "."]), session)


def test_without_options_the_image_goes_to_the_store() -> None:
    asked = request()

    assert asked == BuildRequest(context=".", outputs=(Output("image"),))


def test_build_arguments_take_the_callers_variables() -> None:
    asked = request("--build-arg", "A=1", "--build-arg", "FROM_CALLER", "--build-arg", "UNSET")

    assert asked.build_args == (("A", "1"), ("FROM_CALLER", "yes"))


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("id=x,src=f", Secret("x", path="f")),
        ("id=x,source=f", Secret("x", path="f")),
        ("id=x,env=V", Secret("x", variable="V")),
        ("id=TOKEN", Secret("TOKEN", variable="TOKEN")),
        ("id=x", Secret("x", path="x")),
        ("type=env,id=x", Secret("x", variable="x")),
        ("type=file,id=TOKEN", Secret("TOKEN", path="TOKEN")),
        ('"id=x","src=a,b"', Secret("x", path="a,b")),
    ],
)
def test_secrets_come_from_files_and_variables(text: str, secret: Secret) -> None:
    assert request("--secret", text).secrets == (secret,)


@pytest.mark.parametrize(
    "words",
    [
        ("--secret", "idd=x"),
        ("--secret", "src="),
        ("--secret", "type=vault,id=x"),
        ("--add-host", "name"),
        ("--add-host", "name:1.2.3"),
        ("--ulimit", "nofil=1"),
        ("--ulimit", "nofile=2:1"),
        ("--ulimit", "nofile=-1:5"),
        ("--network", "mine"),
        ("--allow", "network.hots"),
        ("--label", "=x"),
        ("--shm-size", "many"),
        ("--build-context", "name"),
        ("--platform", "a/b/c/d"),
        ("--output", "type=oic,dest=x"),
        ("--provenance",),
        ("--sbom=true",),
        ("-f", "-", "-"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(words: tuple[str, ...]) -> None:
    session = Session(Settings("/nonexistent"), ENVIRON)
    arguments = parse(COMMAND, [*words, "."] if words[-1] != "-" else words)

    with pytest.raises(UsageError):
        build_request(arguments, session)


def test_lists_and_limits_are_read() -> None:
    asked = request(
        "--platform", "linux/amd64,linux/arm64", "--no-cache-filter", "a,b", "--ssh", "default",
        "--ssh=k=/x,/y", "--ulimit", "nofile=10:20", "--ulimit=core=0", "--shm-size=1m", "-m2g",
        "--cpus", "1.5", "--add-host=a:1.2.3.4", "--add-host", "b=[::1]", "--opt", "hostname=h",
        "--allow", "security.insecure", "--provenance=false",
    )  # fmt: skip

    assert asked.platforms == (Platform("linux", "amd64"), Platform("linux", "arm64"))
    assert asked.ignored_stages == ("a", "b")
    assert asked.agents == (Agent("default"), Agent("k", ("/x", "/y")))
    assert asked.ulimits == (Ulimit("nofile", 10, 20), Ulimit("core", 0, 0))
    assert (asked.shm_size_bytes, asked.memory_bytes, asked.cpus) == (1 << 20, 2 << 30, 1.5)
    assert asked.add_hosts == (("a", "1.2.3.4"), ("b", "::1"))
    assert asked.options == (("hostname", "h"),)
    assert asked.entitlements == ("security.insecure",)


def test_outputs_replace_the_store_unless_load_is_given() -> None:
    oci = Output("oci", "x.tar")

    assert request("-o", "type=oci,dest=x.tar").outputs == (oci,)
    assert request("--load", "-o", "type=oci,dest=x.tar").outputs == (oci, Output("image"))


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("--check",), "check"),
        (("--call=lint",), "check"),
        (("--call=targets",), "targets"),
        ((), "build"),
    ],
)
def test_check_is_a_call(words: tuple[str, ...], call: str) -> None:
    assert request(*words).call == call


def test_progress_is_chosen_by_option_variable_and_quiet() -> None:
    session = Session(Settings("/nonexistent"), {"BUILDKIT_PROGRESS": "plain"})

    assert progress_kind(parse(COMMAND, ["."]), session) == "plain"
    assert progress_kind(parse(COMMAND, ["--progress=tty", "."]), session) == "tty"
    assert progress_kind(parse(COMMAND, ["-q", "--progress=tty", "."]), session) == "quiet"


@pytest.mark.parametrize(
    ("words", "call", "is_json"),
    [
        (("--check",), "check", False),
        (("--call=check,format=json",), "check", True),
        (("--call", "outline,format=text"), "outline", False),
        (("--call=targets",), "targets", False),
    ],
)
def test_a_call_may_answer_in_json(words: tuple[str, ...], call: str, *, is_json: bool) -> None:
    asked = request(*words)

    assert (asked.call, asked.is_call_json) == (call, is_json)


@pytest.mark.parametrize(
    ("text", "fix"),
    [("chekc", "did you mean check?"), ("check,format=xml", "write --call=check,format=json")],
)
def test_an_unknown_call_gets_a_remedy(text: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        request(f"--call={text}")

    assert caught.value.fix == fix
