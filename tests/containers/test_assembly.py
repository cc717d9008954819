import pytest

from builder.containers.assembly import (
    argv_of,
    check_hostname,
    effective_config,
    merged_healthcheck,
    process_environment,
)
from builder.containers.request import (
    ContainerRequest,
    EnvironmentWord,
    HealthRequest,
    PortRequest,
)
from builder.errors import StartError, UsageError
from builder.oci.config import DEFAULT_PATH, Healthcheck, RunConfig

IMAGE = RunConfig(
    user="app",
    env=("A=1", "B=2"),
    entrypoint=("serve",),
    cmd=("--all",),
    exposed_ports=("80/tcp",),
    labels=(("k", "image"), ("l", "image")),
    working_dir="/srv",
)


def argv(**changes: object) -> tuple[str, ...]:
    request = ContainerRequest("image", **changes)  # type: ignore[arg-type]
    return argv_of(effective_config(IMAGE, request))


def test_words_replace_the_command_and_an_entry_point_replaces_both() -> None:
    assert argv() == ("serve", "--all")
    assert argv(words=("-x",)) == ("serve", "-x")
    assert argv(entrypoint="sh") == ("sh",)
    assert argv(entrypoint="sh", words=("-c", "x")) == ("sh", "-c", "x")
    assert argv(entrypoint="", words=("echo",)) == ("echo",)


def test_nothing_to_run_is_an_error_of_ours() -> None:
    with pytest.raises(StartError, match="no command specified") as caught:
        argv(entrypoint="")

    assert caught.value.exit_status == 125


def test_what_was_asked_for_is_laid_over_the_image() -> None:
    request = ContainerRequest(
        "image",
        user="root",
        labels=(("k", "mine"),),
        exposed=("90-91/udp",),
        ports=(PortRequest(8080),),
        environment=(EnvironmentWord("B", "two"), EnvironmentWord("A", None)),
    )

    config = effective_config(IMAGE, request)

    assert (config.user, config.working_dir) == ("root", "/srv")
    assert dict(config.labels) == {"k": "mine", "l": "image"}
    assert config.exposed_ports == ("80/tcp", "90/udp", "91/udp", "8080/tcp")
    assert config.env == ("B=two",)


def test_the_environment_has_our_defaults_below_the_images() -> None:
    config = RunConfig(env=("PATH=/bin", "X=y"))

    env = process_environment(config, hostname="box", home="/home/u", is_tty=True)

    assert set(env) == {"PATH=/bin", "HOSTNAME=box", "TERM=xterm", "X=y", "HOME=/home/u"}
    assert f"PATH={DEFAULT_PATH}" in process_environment(
        RunConfig(), hostname="", home="", is_tty=False
    )


def test_health_options_change_single_fields_of_the_images_check() -> None:
    image = Healthcheck(("CMD", "true"), interval_ns=5, retries=9)

    assert merged_healthcheck(image, HealthRequest(interval_s=1.5)) == image._replace(
        interval_ns=1_500_000_000
    )
    assert merged_healthcheck(None, HealthRequest(command="x")) == Healthcheck(("CMD-SHELL", "x"))
    assert merged_healthcheck(image, HealthRequest(is_disabled=True)) == Healthcheck(("NONE",))
    assert merged_healthcheck(None, HealthRequest(retries=3)) is None


def test_a_host_name_is_short_and_plain() -> None:
    assert check_hostname("box-1.test") == "box-1.test"
    for name in ("a" * 64, "-x", "a_b", "x\n"):
        with pytest.raises(UsageError):
            check_hostname(name)
