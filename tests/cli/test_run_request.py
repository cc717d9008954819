"""builder.cli.run_request, mount_values and port_values: docker run's flags as values."""

from pathlib import Path

import pytest

from builder.cli.argv import parse
from builder.cli.commands.run import COMMAND
from builder.cli.run_request import container_request
from builder.cli.session import Session
from builder.containers.request import (
    ContainerRequest,
    DeviceRequest,
    EnvironmentWord,
    MountRequest,
    PortRequest,
    RestartRequest,
    UlimitRequest,
)
from builder.engine.settings import Settings
from builder.errors import BuilderError, UsageError

ENVIRON = {"CALLER": "here"}
RO_VOLUME = MountRequest("volume", "/data", "name", is_read_only=True, options=("nocopy",))


def request(*words: str) -> ContainerRequest:
    session = Session(Settings("/nonexistent"), ENVIRON)
    return container_request(parse(COMMAND, [*words, "image", "-x", "--", "y"]), session)


def test_what_follows_the_image_is_the_command() -> None:
    asked = request()

    assert asked == ContainerRequest(image="image", words=("-x", "--", "y"))


def test_a_bare_variable_is_the_callers_or_a_removal() -> None:
    asked = request("-e", "A=1=2", "-eCALLER", "--env=GONE", "-e", "EMPTY=")

    assert asked.environment == (
        EnvironmentWord("A", "1=2"),
        EnvironmentWord("CALLER", "here"),
        EnvironmentWord("GONE", None),
        EnvironmentWord("EMPTY", ""),
    )


def test_an_environment_file_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(b'\xef\xbb\xbf# comment\n\nA="quoted" $x\nCALLER\nUNSET\n  B=2\r\n')

    asked = request("--env-file", str(path), "-e", "C=3")

    assert asked.environment == (
        EnvironmentWord("A", '"quoted" $x'),
        EnvironmentWord("CALLER", "here"),
        EnvironmentWord("B", "2"),
        EnvironmentWord("C", "3"),
    )


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/data", MountRequest("volume", "/data")),
        ("name:/data", MountRequest("volume", "/data", "name")),
        ("name:/data:ro,nocopy", RO_VOLUME),
        ("/src:/dst", MountRequest("bind", "/dst", "/src", is_source_created=True)),
        (
            "/a/../src:/dst:ro,rslave",
            MountRequest(
                "bind",
                "/dst",
                "/src",
                is_read_only=True,
                is_source_created=True,
                options=("rslave",),
            ),
        ),
    ],
)  # fmt: skip
def test_volumes_are_told_from_directories(text: str, mount: MountRequest) -> None:
    assert request("-v", text).mounts == (mount,)


def test_a_relative_source_is_below_the_working_directory() -> None:
    [mount] = request("-v", "./x:/dst").mounts

    assert mount.source == str(Path.cwd() / "x")


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("type=bind,src=/s,dst=/d,ro", MountRequest("bind", "/d", "/s", is_read_only=True)),
        ("source=v,target=/d", MountRequest("volume", "/d", "v")),
        (
            "type=tmpfs,target=/d,tmpfs-size=64m,tmpfs-mode=1770",
            MountRequest("tmpfs", "/d", options=("size=64m", "mode=1770")),
        ),
        (
            'type=bind,"src=/a,b",dst=/d,bind-propagation=rshared',
            MountRequest("bind", "/d", "/a,b", options=("rshared",)),
        ),
    ],
)
def test_mounts_are_read_key_by_key(text: str, mount: MountRequest) -> None:
    assert request("--mount", text).mounts == (mount,)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [PortRequest(80)]),
        ("8080:80", [PortRequest(80, "tcp", "", 8080, 8080)]),
        ("127.0.0.1:8080:80/udp", [PortRequest(80, "udp", "127.0.0.1", 8080, 8080)]),
        ("127.0.0.1::80", [PortRequest(80, "tcp", "127.0.0.1")]),
        ("[::1]:81:80", [PortRequest(80, "tcp", "::1", 81, 81)]),
        (
            "8000-8001:80-81",
            [PortRequest(80, "tcp", "", 8000, 8000), PortRequest(81, "tcp", "", 8001, 8001)],
        ),
        ("8000-8009:80", [PortRequest(80, "tcp", "", 8000, 8009)]),
    ],
)  # fmt: skip
def test_ports_are_published_one_by_one(text: str, ports: list[PortRequest]) -> None:
    assert list(request("-p", text).ports) == ports


@pytest.mark.parametrize(
    "words",
    [
        ("-p", "0:80"), ("-p", "x"), ("-p", "1-2:3-5"), ("-p", "80/icmp"), ("-p", "70000"),
        ("-v", "a:b"), ("-v", "a:/b:wo"), ("-v", "a:/b:c:d"), ("-v", "/a:/"), ("-v", "a:/b:ro,rw"),
        ("--mount", "type=bind,dst=/d"), ("--mount", "type=bnd,dst=/d"), ("--mount", "src=x"),
        ("--mount", "type=bind,src=rel,dst=/d"), ("--mount", "tpye=bind"),
        ("-v", "/a:/x", "--tmpfs", "/x/"), ("--tmpfs", "relative"),
        ("--rm", "--restart=always"), ("--restart", "allways"), ("--restart", "always:3"),
        ("-m", "5m"), ("--memory-swap", "1g"), ("-m", "2g", "--memory-swap", "1g"),
        ("-a", "stdlog"), ("--device", "/dev/x:/dev/y:rwx"), ("--pids-limit", "few"),
        ("-e", "=x"), ("--label", "=x"), ("--sysctl", "x"), ("--add-host", "x"),
        ("--health-interval", "often"), ("--device-read-bps", "/dev/sda"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        request(*words)


def test_a_missing_environment_file_is_said() -> None:
    with pytest.raises(BuilderError, match="No such file"):
        request("--env-file", "/nonexistent/env")


def test_limits_and_policies_are_read() -> None:
    asked = request(
        "--restart", "on-failure:3", "-m", "64m", "--memory-swap=-1", "--cpus=.5", "--ulimit",
        "nofile=unlimited", "--device", "/dev/fuse:rw", "--device=/dev/a:/dev/b:r",
        "--device-write-iops", "/dev/sda:100", "--health-timeout", "1m", "--stop-timeout=-1",
    )  # fmt: skip

    assert asked.restart == RestartRequest("on-failure", 3)
    assert asked.resources.memory_bytes == 64 << 20
    assert asked.resources.memory_swap_bytes == -1
    assert asked.resources.cpus == 0.5
    assert asked.resources.device_limits == (("write-iops", "/dev/sda", 100),)
    assert asked.ulimits == (UlimitRequest("nofile", -1, -1),)
    assert asked.devices == (
        DeviceRequest("/dev/fuse", "/dev/fuse", "rw"),
        DeviceRequest("/dev/a", "/dev/b", "r"),
    )
    assert asked.health.timeout_s == 60
    assert asked.stop_timeout_s == -1
