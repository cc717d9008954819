import pytest

from builder.errors import UsageError
from builder.oci.platform import Platform, best_match, host_platform, parse_platform


def test_aliases_and_implied_variants_are_normalised() -> None:
    assert parse_platform("linux/x86_64") == Platform("linux", "amd64")
    assert parse_platform("linux/arm64/v8") == Platform("linux", "arm64")
    assert parse_platform("aarch64") == Platform("linux", "arm64")
    assert parse_platform("linux/arm") == Platform("linux", "arm", "v7")


def test_the_machine_names_its_platform() -> None:
    assert host_platform("x86_64") == Platform("linux", "amd64")
    assert host_platform("armv7l") == Platform("linux", "arm", "v7")


def test_arm_falls_back_to_older_variants() -> None:
    offers = [Platform("linux", "arm", "v5"), Platform("linux", "arm", "v6"), None]

    assert best_match(Platform("linux", "arm", "v7"), offers) == 1


def test_no_offer_for_another_architecture() -> None:
    assert best_match(Platform("linux", "amd64"), [Platform("linux", "arm64"), None]) is None


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux", "linux/", "../x", "linux/am d64"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_platform(text)
