import pytest

from builder.dockerfile.ports import MAX_PORT
from builder.errors import DockerfileError
from builder.oci.config import RunConfig
from tests.dockerfile.builds import PATH, REQUEST, created_by, lowered

BASE = RunConfig(env=(PATH,))


def run_config(text: str, base: RunConfig = BASE) -> RunConfig:
    return lowered(f"FROM base\n{text}", images={"base": base}).config.config


def history(text: str) -> list[str]:
    return created_by(lowered(f"FROM scratch\n{text}"))


def test_all_words_of_env_see_the_environment_before() -> None:
    text = "ENV A=old\nENV A=9 E=$A"

    assert run_config(text).env == (PATH, "A=9", "E=old")
    assert history(text) == ["ENV A=old", "ENV A=9 E=old"]


def test_env_replaces_in_place() -> None:
    base = RunConfig(env=("A=1", PATH, "B=2"))

    assert run_config("ENV B=3 A='x y'", base).env == ("A=x y", PATH, "B=3")


def test_words_of_arg_see_earlier_words() -> None:
    assert history("ARG A=1 B=$A C") == ["ARG A=1 B=1 C"]


def test_a_build_argument_goes_before_the_default_and_the_global_value() -> None:
    text = "ARG A=global\nARG B=global\nARG C=global\nFROM scratch\nARG A\nARG B=own\nARG C=own\n"
    request = REQUEST._replace(build_args=(("C", "given"),))

    result = lowered(text, request)

    assert created_by(result) == ["ARG A=global", "ARG B=own", "ARG C=given"]


def test_a_global_argument_is_invisible_until_declared() -> None:
    result = lowered('ARG A=1\nFROM scratch\nLABEL a="$A"\nARG A\nLABEL b="$A"')

    assert result.config.config.labels == (("a", ""), ("b", "1"))


def test_a_later_arg_hides_an_env_but_for_the_image() -> None:
    result = lowered("FROM scratch\nENV A=env\nARG A=arg\nLABEL a=$A")

    assert result.config.config.env == (PATH, "A=env")
    assert result.config.config.labels == (("a", "arg"),)
    assert [w.rule for w in result.warnings] == ["EnvHiddenByArg"]


def test_a_later_env_hides_an_arg() -> None:
    text = "FROM scratch\nARG A=arg\nENV A=env\nLABEL a=$A"

    assert lowered(text).config.config.labels == (("a", "env"),)


def test_an_arg_without_value_leaves_env_alone() -> None:
    assert lowered("FROM scratch\nENV A=env\nARG A\nLABEL a=$A").config.config.labels == (
        ("a", "env"),
    )


def test_commands_in_shell_form_use_the_shell() -> None:
    text = 'SHELL ["/bin/bash", "-ec"]\nENTRYPOINT a  "b"\nCMD c $X'

    config = run_config(text)

    assert config.entrypoint == ("/bin/bash", "-ec", 'a  "b"')
    assert config.cmd == ("/bin/bash", "-ec", "c $X")
    assert config.shell == ("/bin/bash", "-ec")
    assert history(text) == [
        "SHELL [/bin/bash -ec]",
        'ENTRYPOINT ["/bin/bash" "-ec" "a  \\"b\\""]',
        'CMD ["/bin/bash" "-ec" "c $X"]',
    ]


def test_an_entrypoint_drops_only_an_inherited_command() -> None:
    base = RunConfig(env=(PATH,), cmd=("inherited",))

    assert run_config('ENTRYPOINT ["e"]', base).cmd is None
    assert run_config('CMD ["own"]\nENTRYPOINT ["e"]', base).cmd == ("own",)


def test_an_entrypoint_drops_the_parent_stages_command() -> None:
    result = lowered('FROM scratch AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]')

    assert result.config.config.cmd is None


def test_a_command_marks_its_arguments_as_escaped() -> None:
    assert run_config('CMD ["a"]').args_escaped
    assert not run_config('ENTRYPOINT ["a"]').args_escaped


def test_a_bare_command_runs_the_shell_with_nothing() -> None:
    assert run_config("CMD").cmd == ("/bin/sh", "-c", "")
    assert history("CMD []") == ["CMD []"]


def test_ports_are_merged_sorted_and_single() -> None:
    base = RunConfig(env=(PATH,), exposed_ports=("9/udp",))
    text = "ENV P=90\nEXPOSE $P/udp 80 7000-7001"

    assert run_config(text, base).exposed_ports == (
        "7000/tcp", "7001/tcp", "80/tcp", "9/udp", "90/udp"
    )  # fmt: skip
    assert history(text)[1] == "EXPOSE [90/udp 7000/tcp 7001/tcp 80/tcp]"


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(DockerfileError, match="invalid containerPort: 65536") as caught:
        history(f"EXPOSE {MAX_PORT + 1}")

    assert caught.value.span is not None
    assert caught.value.span.start.line == 2


def test_volumes_are_a_sorted_set() -> None:
    text = 'VOLUME /b /a\nVOLUME ["/a"]'

    assert run_config(text).volumes == ("/a", "/b")
    assert history(text) == ["VOLUME [/b /a]", "VOLUME [/a]"]


def test_an_empty_volume_is_refused() -> None:
    with pytest.raises(DockerfileError, match="VOLUME specified can not be an empty string"):
        history('VOLUME [""]')


def test_labels_are_sorted_and_the_command_lines_come_last() -> None:
    request = REQUEST._replace(labels=(("b", "cli"), ("c", "cli")))

    result = lowered("FROM scratch\nLABEL b=1 a=2", request)

    assert result.config.config.labels == (("a", "2"), ("b", "cli"), ("c", "cli"))
    assert created_by(result) == ["LABEL b=1 a=2"]


def test_simple_settings_are_kept_and_told_of() -> None:
    text = "USER me:you\nSTOPSIGNAL RTMIN+3\nMAINTAINER Me <me@x>"

    result = lowered(f"FROM scratch\n{text}")

    assert result.config.config.user == "me:you"
    assert result.config.config.stop_signal == "RTMIN+3"
    assert result.config.author == "Me <me@x>"
    assert created_by(result) == text.split("\n")


def test_an_unknown_signal_is_refused() -> None:
    with pytest.raises(DockerfileError, match="invalid signal: FOO"):
        history("STOPSIGNAL FOO")


def test_the_last_health_check_wins() -> None:
    config = run_config("HEALTHCHECK CMD a\nHEALTHCHECK --retries=2 CMD b")

    assert config.healthcheck is not None
    assert config.healthcheck.test == ("CMD-SHELL", "b")
    assert config.healthcheck.retries == 2


def test_metadata_makes_no_layers() -> None:
    result = lowered("FROM scratch\nENV A=1\nLABEL a=1\nCMD x\nEXPOSE 1")

    assert result.layers == ()
    assert all(entry.is_empty_layer for entry in result.config.history)
    assert {entry.comment for entry in result.config.history} == {"buildkit.dockerfile.v0"}


def test_a_name_that_expands_to_nothing_is_kept_as_the_reference_keeps_it() -> None:
    result = lowered("FROM scratch\nENV $NONE=a B=b\nENV $NONE=c")

    assert result.config.config.env == (PATH, "=c", "B=b")


def test_a_trigger_is_stored_with_the_blanks_at_its_end() -> None:
    result = lowered("FROM scratch\nONBUILD \tRUN a  b \t\nONBUILD USER c")

    assert result.config.config.on_build == ("RUN a  b \t", "USER c")
