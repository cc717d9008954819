import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import BuilderError, NotFound, UsageError
from builder.graph.ops import Owner
from builder.kernel.ids import (
    Identity,
    ResolvedOwner,
    resolve_group,
    resolve_owner,
    resolve_user,
    supplementary_groups,
)

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
broken:x:zero:0::/:
wrapped:x:4294967296:0::/:
+nis::::::
1000:x:0:0:a name of digits:/root:
app:x:1000:1001:App:/home/app:/bin/sh
homeless:x:7:7

\xe4pp:x:8:8::/\xe4:
"""
GROUP = b"""\
root:x:0:root
staff:x:50:
docker:x:5555:app,other
wheel:x:10:app
again:x:10:app
appg:x:1001:app
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    etc = tmp_path / "root/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_bytes(PASSWD)
    (etc / "group").write_bytes(GROUP)
    fd = os.open(etc.parent, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Identity(0, 0, (), "/root", "root")),
        ("root", Identity(0, 0, (), "/root", "root")),
        ("app", Identity(1000, 1001, (5555, 10), "/home/app", "app")),
        ("1000", Identity(1000, 1001, (5555, 10), "/home/app", "app")),
        ("1234", Identity(1234, 0)),
        ("app:staff", Identity(1000, 50, (), "/home/app", "app")),
        ("app:77", Identity(1000, 77, (), "/home/app", "app")),
        ("1234:staff", Identity(1234, 50)),
        (":7", Identity(0, 7, (), "/root", "root")),
        ("homeless", Identity(7, 7, (), "/", "homeless")),
        ("\udce4pp", Identity(8, 8, (), "/\udce4", "\udce4pp")),
        ("2147483647", Identity(2147483647, 0)),
    ],
)
def test_a_user_is_resolved_by_the_images_own_files(
    root: int, text: str, expected: Identity
) -> None:
    assert resolve_user(root, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "4294967296",
        "4294967295",
        "2147483648",
        "-1",
        "9" * 20,
        "9" * 5000,
        "0:-1",
        "app:4294967296",
    ],
)
def test_a_number_out_of_range_is_refused(root: int, text: str) -> None:
    with pytest.raises(UsageError, match="must be in range 0-2147483647"):
        resolve_user(root, text)


@pytest.mark.parametrize("text", ["nobody", "0x0", "broken", "wrapped", "+nis", "٣", "a:b:c"])
def test_an_unknown_user_is_an_error(root: int, text: str) -> None:
    with pytest.raises(NotFound, match="no matching entries in passwd file"):
        resolve_user(root, text)


def test_an_unknown_group_is_an_error(root: int) -> None:
    with pytest.raises(NotFound, match="unable to find group x: no matching entries in group file"):
        resolve_user(root, "app:x")
    with pytest.raises(NotFound):
        resolve_group(root, "y")


def test_groups_by_membership_are_listed_once(root: int) -> None:
    assert supplementary_groups(root, "app") == (5555, 10, 1001)


@pytest.mark.parametrize(
    ("user", "group", "expected"),
    [
        ("33", None, (33, 33)),
        ("33", "", (33, 0)),
        ("", "33", (0, 33)),
        ("app", None, (1000, 1001)),
        ("app", "staff", (1000, 50)),
        ("app", "", (1000, 0)),
        ("root", None, (0, 0)),
        ("5", "root", (5, 0)),
    ],
)
def test_an_owner_is_resolved(
    root: int, user: str, group: str | None, expected: tuple[int, int]
) -> None:
    assert resolve_owner(root, Owner(user, group)) == ResolvedOwner(*expected)


def test_an_unknown_owner_is_root_with_a_warning(root: int) -> None:
    user = resolve_owner(root, Owner("nobody"))
    group = resolve_owner(root, Owner("app", "nogroup"))

    assert user[:2] == (0, 0)
    assert "nobody" in (user.warning or "")
    assert group[:2] == (1000, 1001)
    assert "nogroup" in (group.warning or "")


@pytest.mark.parametrize("user", ["-1", "4294967296"])
def test_an_owner_out_of_range_is_refused(root: int, user: str) -> None:
    with pytest.raises(UsageError):
        resolve_owner(root, Owner(user))


@pytest.mark.parametrize("kind", ["host", "fifo", "zero", "directory", "huge", "absent"])
def test_hostile_files_are_as_if_they_were_not_there(root: int, tmp_path: Path, kind: str) -> None:
    passwd = tmp_path / "root/etc/passwd"
    passwd.unlink()
    (tmp_path / "host").write_text("app:x:1:1::/:\n")
    match kind:
        case "host":
            passwd.symlink_to(tmp_path / "host")
        case "fifo":
            os.mkfifo(passwd)
        case "zero":
            passwd.symlink_to("/dev/zero")
        case "directory":
            passwd.mkdir()
        case "huge":
            passwd.touch()
            os.truncate(passwd, 11 << 20)
        case _:
            pass

    with pytest.raises(BuilderError):
        resolve_user(root, "app")
    assert resolve_user(root, "0") == Identity(0, 0)
