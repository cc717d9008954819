import ctypes
import os
import stat
from pathlib import Path

import pytest

from builder.errors import KernelError
from builder.kernel import xattr
from builder.kernel.owner import OWNER_XATTR, change_owner, change_owner_at, kept_owner


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def test_attributes_are_read_sorted_by_path_and_by_descriptor(file: Path) -> None:
    xattr.set_all(str(file), [("user.b", b"2"), ("user.a", b"1\0")])
    fd = os.open(file, os.O_PATH)

    found = xattr.get_all(str(file)), xattr.get_all(fd)

    os.close(fd)
    assert found == ((("user.a", b"1\0"), ("user.b", b"2")),) * 2


def test_a_path_that_is_a_link_is_not_followed(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    xattr.set_all(str(file), [("user.a", b"1")])

    xattr.set_all(str(link), [("user.b", b"2")])

    assert xattr.get_all(str(link)) == ()
    assert xattr.get_all(str(file)) == (("user.a", b"1"),)


def test_a_missing_file_is_an_error(file: Path) -> None:
    with pytest.raises(KernelError):
        xattr.get_all(f"{file}-not")
    with pytest.raises(KernelError):
        xattr.set_all(f"{file}-not", [("user.a", b"")])


def test_only_what_belongs_to_the_file_travels() -> None:
    names = [
        "security.capability",
        "security.selinux",
        "system.posix_acl_access",
        "trusted.overlay.opaque",
        "trusted.x",
        "user.builder.owner",
        "user.mine",
        "user.overlay.opaque",
    ]

    kept = xattr.portable(tuple((name, b"") for name in names))

    assert kept == (("security.capability", b""), ("user.mine", b""))


def test_a_directory_can_be_made_opaque(tmp_path: Path) -> None:
    assert not xattr.is_opaque(str(tmp_path), userxattr=True)

    xattr.set_opaque(str(tmp_path), userxattr=True)

    assert xattr.is_opaque(str(tmp_path), userxattr=True)
    assert not xattr.is_opaque(str(tmp_path), userxattr=False)


@pytest.mark.parametrize("value", [b"", b"1", b"1:", b":1", b"a:b", b"-1:0", b"4294967295:0"])
def test_a_kept_owner_must_make_sense(file: Path, value: bytes) -> None:
    os.setxattr(file, OWNER_XATTR, value)

    assert kept_owner(str(file)) is None


@pytest.mark.root
def test_an_owner_is_set_where_the_kernel_lets_us(file: Path) -> None:
    fd = os.open(file, os.O_PATH)
    os.setxattr(file, OWNER_XATTR, b"1:1")

    change_owner(fd, 5, 70_000)

    os.close(fd)
    assert (file.stat().st_uid, file.stat().st_gid) == (5, 70_000)
    assert kept_owner(str(file)) is None


def in_single_id_namespace(check: Path) -> tuple[int, int] | None:
    """Change an owner in a user namespace with one id, as rootless without newuidmap."""
    uid, gid = os.getuid(), os.getgid()
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None)
            libc.unshare(0x1000_0000)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
            parent = os.open(check.parent, os.O_RDONLY)
            change_owner_at(parent, check.name, 33, 34)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return kept_owner(str(check))


@pytest.mark.namespaces
def test_an_owner_that_cannot_be_set_is_kept_beside_the_file(file: Path) -> None:
    before = file.stat()

    assert in_single_id_namespace(file) == (33, 34)

    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (
        before.st_uid,
        stat.S_IMODE(before.st_mode),
    )
