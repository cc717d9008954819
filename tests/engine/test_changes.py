import pytest

from builder.engine.changes import changed_config
from builder.errors import BuilderError, UsageError
from builder.oci.config import RunConfig
from builder.oci.platform import Platform

AMD64 = Platform("linux", "amd64")


def test_no_changes_leave_a_config_as_it_is() -> None:
    config = RunConfig(env=("A=b",))

    assert changed_config(config, [], AMD64) is config


def test_changes_are_applied_in_order_on_top_of_a_config() -> None:
    config = RunConfig(env=("PATH=/bin", "A=b"), user="me")

    changed = changed_config(
        config,
        ['CMD ["echo", "imported"]', "ENV X=y", "env A=$X", "EXPOSE 80", "LABEL l=1", "WORKDIR /w"],
        AMD64,
    )

    assert changed.cmd == ("echo", "imported")
    assert changed.env == ("PATH=/bin", "A=y", "X=y")
    assert changed.exposed_ports == ("80/tcp",)
    assert changed.labels == (("l", "1"),)
    assert (changed.working_dir, changed.user) == ("/w", "me")


@pytest.mark.parametrize(
    "change", ["RUN x", "COPY a b", "FROM x", "", "NOTHING", "ENV A=b\nRUN x", "# ENV A=b"]
)
def test_what_makes_files_is_no_change(change: str) -> None:
    with pytest.raises(UsageError):
        changed_config(RunConfig(), [change], AMD64)


@pytest.mark.parametrize("change", ["ENV", "EXPOSE x/y", "ONBUILD FROM x"])
def test_a_malformed_change_is_an_error(change: str) -> None:
    with pytest.raises(BuilderError):
        changed_config(RunConfig(), [change], AMD64)
