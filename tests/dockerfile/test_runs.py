import pytest

from builder.dockerfile.runs import proxy_env
from builder.errors import Denied, DockerfileError
from builder.graph import ops
from builder.graph.vertex import Selector
from tests.dockerfile.builds import PATH, REQUEST, created_by, lowered, steps


def exec_of(text: str, build_args: tuple[tuple[str, str], ...] = ()) -> ops.Exec:
    request = REQUEST._replace(build_args=build_args)
    op = lowered(f"FROM base\n{text}", request).root.op
    assert isinstance(op, ops.Exec)
    return op


def mount_of(text: str) -> ops.Mount:
    [mount] = exec_of(text).mounts
    return mount


def test_forms_decide_about_the_shell() -> None:
    assert exec_of('RUN echo "$A"  b').argv == ("/bin/sh", "-c", 'echo "$A"  b')
    assert exec_of('RUN ["echo", "$A"]').argv == ("echo", "$A")
    assert exec_of('SHELL ["/bin/ash", "-x"]\nRUN a').argv == ("/bin/ash", "-x", "a")


def test_the_environment_holds_env_and_arg() -> None:
    assert exec_of("ENV A=1\nARG B=2\nARG C\nRUN x").env == (PATH, "A=1", "B=2")


def test_user_and_directory_are_those_of_the_place() -> None:
    run = exec_of("WORKDIR /a/\nUSER me\nRUN x")

    assert (run.cwd, run.user) == ("/a", "me")


def test_history_counts_declared_arguments() -> None:
    result = lowered('FROM base\nARG A=1\nARG B\nENV A=2\nRUN ["x", "y"]')

    assert created_by(result)[-1] == "RUN |2 A=2 B= x y # buildkit"


def test_arguments_are_inherited_by_child_stages() -> None:
    result = lowered("FROM base AS a\nARG A=1\nFROM a\nRUN x")

    assert created_by(result)[-1] == "RUN |1 A=1 /bin/sh -c x # buildkit"


def test_a_script_is_passed_to_the_shell() -> None:
    result = lowered("FROM base\nRUN <<-EOF\n\techo a\n\techo $b\nEOF\n")

    assert isinstance(result.root.op, ops.Exec)
    assert result.root.op.argv == ("/bin/sh", "-c", "echo a\necho $b\n")
    assert created_by(result) == ["RUN /bin/sh -c echo a\necho $b\n # buildkit"]
    assert result.root.name == "[2/2] RUN <<-EOF (echo a...)"


def test_a_script_that_names_its_interpreter_is_a_file() -> None:
    run = exec_of("RUN <<EOF\n#!/bin/awk -f\nBEGIN { }\nEOF\n")

    assert run.argv == ("/bin/sh", "-c", "/dev/pipes/EOF")
    assert run.mounts == (ops.ScriptMount("/dev/pipes/EOF", "#!/bin/awk -f\nBEGIN { }\n"),)


def test_documents_beside_a_command_stay_with_it() -> None:
    run = exec_of("RUN cat <<A - <<-B\n1\nA\n\t2\nB\n")

    assert run.argv[-1] == "cat <<A - <<-B\n1\nA\n\t2\nB"


def test_a_bind_reads_its_source_alone() -> None:
    result = lowered("FROM base\nWORKDIR /w\nRUN --mount=source=a/../b,target=c,rw x")

    assert isinstance(result.root.op, ops.Exec)
    assert result.root.op.mounts == (ops.BindMount("/w/c", 1, "/b", is_writable=True),)
    copied = result.root.inputs[1].vertex
    assert copied.op == ops.Files((ops.Copy(1, "/b", "/b", allow_wildcard=False),))
    assert copied.inputs[1].selectors == (Selector("/b"),)
    assert isinstance(copied.inputs[1].vertex.op, ops.Context)


def test_two_binds_of_one_stage_share_an_input() -> None:
    text = "FROM base AS a\nFROM base\nRUN --mount=from=a,src=x,dst=/x --mount=from=a,dst=/y z"

    result = lowered(text)

    assert isinstance(result.root.op, ops.Exec)
    assert result.root.op.mounts == (ops.BindMount("/x", 1, "/x"), ops.BindMount("/y", 1))
    assert result.root.inputs[1].selectors == (Selector("/x"), Selector("/"))


def test_a_cache_is_known_by_its_path_in_its_namespace() -> None:
    text = "RUN --mount=type=cache,target=/a/../c,uid=1,mode=0700,sharing=locked x"
    expected = ops.CacheMount("/c", "/c", "locked", mode_bits=0o700, uid=1)

    assert mount_of(text) == expected
    [mount] = exec_of(text, (("BUILDKIT_CACHE_MOUNT_NS", "n"),)).mounts
    assert mount == expected._replace(id="n//c")


def test_a_cache_may_begin_with_a_stages_files() -> None:
    text = "FROM base AS a\nFROM base\nRUN --mount=type=cache,from=a,source=s,target=/c x"

    result = lowered(text)

    assert isinstance(result.root.op, ops.Exec)
    assert result.root.op.mounts == (ops.CacheMount("/c", "/c", input=1, source="/s"),)


def test_secrets_have_defaults() -> None:
    assert mount_of("RUN --mount=type=secret,id=s x") == ops.SecretMount("s", "/run/secrets/s")
    assert mount_of("RUN --mount=type=secret,target=a/t x") == ops.SecretMount("t", "/a/t")
    assert mount_of("RUN --mount=type=secret,id=s,env=E x") == ops.SecretMount("s", "", "E")


def test_agents_are_numbered() -> None:
    run = exec_of("RUN --mount=type=ssh --mount=type=ssh,id=k,required x")

    assert run.mounts == (
        ops.SshMount("default", "/run/buildkit/ssh_agent.0"),
        ops.SshMount("k", "/run/buildkit/ssh_agent.1", is_required=True),
    )


def test_a_memory_file_system_may_have_a_size() -> None:
    assert mount_of("RUN --mount=type=tmpfs,target=/t,size=1m x") == ops.TmpfsMount("/t", 1 << 20)


def test_values_of_mounts_are_expanded() -> None:
    assert mount_of("ENV T=cache\nRUN --mount=type=$T,target=/$T x") == ops.CacheMount(
        "/cache", "/cache"
    )


@pytest.mark.parametrize(
    ("mount", "reason"),
    [
        ("target=/x/..", 'invalid mount target "/"'),
        ("target=/x,z", "invalid field 'z' must be a key=value pair"),
        ("from=$A,target=/x", "'from' doesn't support variable expansion"),
        ("type=secret", "one of source, target required"),
    ],
)
def test_nonsense_mounts_are_refused_at_their_place(mount: str, reason: str) -> None:
    with pytest.raises(DockerfileError, match=reason) as caught:
        exec_of(f"RUN --mount={mount} x")

    assert caught.value.span is not None
    assert caught.value.span.start.line == 2


@pytest.mark.parametrize(
    ("flag", "entitlement"),
    [
        ("network=host", "network.host"),
        ("security=insecure", "security.insecure"),
        ("device=a/b=c", "device=a/b=c"),
    ],
)
def test_privileges_have_to_be_granted(flag: str, entitlement: str) -> None:
    text = f"FROM base\nRUN --{flag} x"

    with pytest.raises(Denied, match="is not allowed"):
        lowered(text)

    assert lowered(text, REQUEST._replace(entitlements=(entitlement,)))


def test_the_network_of_the_command_line_is_the_default() -> None:
    request = REQUEST._replace(network="host")

    networks = []
    for flag in ("", "--network=none ", "--network=default "):
        op = lowered(f"FROM base\nRUN {flag}x", request).root.op
        assert isinstance(op, ops.Exec)
        networks.append(op.network)

    assert networks == ["host", "none", "host"]


def test_the_host_name_can_be_given() -> None:
    assert exec_of("RUN x").hostname == "buildkitsandbox"
    assert exec_of("RUN x", (("BUILDKIT_SANDBOX_HOSTNAME", "h"),)).hostname == "h"


def test_proxies_are_given_in_both_cases_and_not_told_of() -> None:
    request = REQUEST._replace(build_args=(("HTTP_PROXY", "p"), ("no_proxy", "n")))
    expected = ("HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n")

    result = lowered("FROM base\nRUN x", request)

    assert proxy_env(request) == expected
    assert isinstance(result.root.op, ops.Exec)
    assert result.root.op.proxy_env == expected
    assert result.root.op.env == (PATH,)
    assert created_by(result) == ["RUN /bin/sh -c x # buildkit"]
    assert result.root.digest == lowered("FROM base\nRUN x").root.digest


def test_names_show_known_variables_and_hide_secrets() -> None:
    text = "FROM base\nENV A=1\nRUN --mount=type=secret,id=s,env=S echo $A '$B' $S"

    assert steps(lowered(text))[-1] == ("[2/2] RUN --mount=type=secret,id=s,env=S echo 1 '$B' ****")


def test_an_argument_changes_the_steps_below_it_alone() -> None:
    before = lowered("FROM base\nRUN a\nARG A=1\nRUN b")

    after = lowered("FROM base\nRUN a\nARG A=2\nRUN b")

    assert before.root.digest != after.root.digest
    assert before.layers[0].digest == after.layers[0].digest
