import pytest

from builder.containers.assembly import Base, Fresh, composed
from builder.containers.model import Container, MountPoint
from builder.containers.request import ContainerRequest, Resources, UlimitRequest
from builder.containers.spec import (
    Surroundings,
    limits_of,
    parse_security,
    refuse_unsupported,
    sandbox_spec,
)
from builder.errors import UsageError
from builder.kernel.ids import Identity
from builder.kernel.namespaces import Privileges
from builder.oci.config import RunConfig
from builder.sandbox.spec import Bind, FileMount, SandboxSpec, Tmpfs
from builder.store.snapshotter import Active


def spec(
    tmp_path: object, request: ContainerRequest, *mounts: MountPoint, **around: object
) -> SandboxSpec:
    config = RunConfig(cmd=("true",))
    container: Container = composed(
        request, Base("", "", None, ""), Fresh("f" * 64, "web", config, mounts, ())
    )
    surroundings = Surroundings(
        active=Active(1, None, "/u", "/w", ("/l",)),
        identity=Identity(0, 0),
        privileges=Privileges(True, False, (), (), False),  # noqa: FBT003
        root=str(tmp_path),
        etc=("host\n", "hosts\n", "resolv\n"),
    )
    return sandbox_spec(container, surroundings._replace(**around))[0]  # type: ignore[arg-type]


def test_limits_are_translated() -> None:
    limits = limits_of(Resources(memory_bytes=64, cpus=0.5, pids=7))

    assert (limits.memory_bytes, limits.cpu_quota_us, limits.pids) == (64, 50_000, 7)
    assert limits.cpu_period_us == 100_000


def test_security_options_are_understood_and_others_refused() -> None:
    security = parse_security(("no-new-privileges", "seccomp=unconfined"))

    assert (security.no_new_privileges, security.seccomp) == (True, "unconfined")
    assert not parse_security(("systempaths=unconfined",)).has_masks
    with pytest.raises(UsageError):
        parse_security(("apples=pears",))


def test_an_ordinary_container_is_confined(tmp_path: object) -> None:
    made = spec(tmp_path, ContainerRequest("i"))

    assert made.seccomp
    assert made.masked_paths
    assert not made.is_privileged
    assert [m.target for m in made.mounts] == ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]


def test_a_privileged_one_is_not(tmp_path: object) -> None:
    made = spec(tmp_path, ContainerRequest("i", is_privileged=True))

    assert made.seccomp is None
    assert made.masked_paths == ()
    assert made.capabilities >> 21 & 1


def test_mounts_become_what_the_sandbox_knows(tmp_path: object) -> None:
    made = spec(
        tmp_path,
        ContainerRequest("i", is_read_only=True),
        MountPoint("bind", "/etc/hosts", "/h", is_read_only=True),
        MountPoint("tmpfs", "/t", options=("size=2m", "mode=700", "exec")),
    )

    assert FileMount("/etc/hostname", b"host\n", 0o644) in made.mounts
    assert Bind("/etc/hosts", "/h", is_read_only=True) in made.mounts
    assert Tmpfs("/t", 2 << 20, 0o700, ("nosuid", "nodev")) in made.mounts
    assert made.is_root_read_only


def test_only_the_containers_own_kernel_parameters_may_be_set(tmp_path: object) -> None:
    wanted = ContainerRequest("i", sysctls=(("net.core.somaxconn", "5"),))
    assert ("net.core.somaxconn", "5") in spec(tmp_path, wanted).sysctls

    with pytest.raises(UsageError):
        spec(tmp_path, wanted, network="host")
    with pytest.raises(UsageError):
        spec(tmp_path, ContainerRequest("i", sysctls=(("vm.swappiness", "1"),)))


def test_what_cannot_be_had_is_refused_beforehand() -> None:
    for request in (
        ContainerRequest("i", user_mode="keep-id"),
        ContainerRequest("i", log_driver="syslog"),
        ContainerRequest("i", pid_mode="banana"),
        ContainerRequest("i", capabilities_added=("FLY",)),
        ContainerRequest("i", ulimits=(UlimitRequest("dreams", 1, 1),)),
    ):
        with pytest.raises(UsageError):
            refuse_unsupported(request)
