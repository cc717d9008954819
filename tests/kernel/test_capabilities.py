import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.kernel import capabilities

_names = st.lists(st.sampled_from(sorted(capabilities.NUMBERS)), max_size=5)


def test_the_default_is_dockers() -> None:
    expected = (
        "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW "
        "SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
    )

    found = " ".join(capabilities.names(capabilities.DEFAULT))

    assert found.replace("CAP_", "") == expected


@given(_names, _names)
def test_what_is_added_is_there_and_the_rest_dropped(add: list[str], drop: list[str]) -> None:
    found = set(capabilities.names(capabilities.parse(add, drop)))

    assert {f"CAP_{name}" for name in add} <= found
    assert not {f"CAP_{name}" for name in drop} - {f"CAP_{name}" for name in add} & found


def test_all_is_everything_or_nothing() -> None:
    chown = 1 << capabilities.NUMBERS["CHOWN"]

    assert capabilities.parse([], ["ALL"]) == 0
    assert capabilities.parse(["chown"], ["all"]) == chown
    assert capabilities.parse(["ALL"], ["CAP_CHOWN"]) == capabilities.ALL & ~chown
    assert capabilities.parse(["ALL"], ["ALL"]) == capabilities.ALL


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(UsageError) as caught:
        capabilities.parse(["SYS_ADMN"], [])

    assert "SYS_ADMIN" in (caught.value.fix or "")
