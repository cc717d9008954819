import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.request import GitNeed, HttpNeed, ImageNeed
from builder.engine.lock import Lock, Moved, Pinning, encoded, moved, parse_lock
from builder.errors import Conflict, UsageError
from builder.oci.digest import Digest
from builder.oci.platform import Platform

A, B = (Digest(f"sha256:{letter * 64}") for letter in "ab")
COMMIT = "c" * 40
AMD64 = Platform("linux", "amd64")
NAME = "docker.io/library/alpine:3"
URL = "https://example.com/a"

names = st.text(min_size=1, max_size=30)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda t: Digest(f"sha256:{t}"))
commits = st.text("0123456789abcdef", min_size=40, max_size=40)
locks = st.builds(
    Lock,
    st.dictionaries(names, digests, max_size=4),
    st.dictionaries(names, digests, max_size=4),
    st.dictionaries(names, commits, max_size=4),
)


@given(locks)
def test_what_is_written_is_read_again(lock: Lock) -> None:
    assert parse_lock(encoded(lock), "Dockerfile.lock") == lock


def test_order_does_not_matter_and_each_name_has_a_line() -> None:
    one, other = Lock({"a": A, "b": B}), Lock({"b": B, "a": A})

    assert encoded(one) == encoded(other)
    assert f'    "a": "{A}",\n    "b": "{B}"\n'.encode() in encoded(one)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b'{"lock": 2}', b'{"lock": 1, "images": {"a": "latest"}}',
        b'{"lock": 1, "gits": {"a": "--upload-pack=x"}}', b'{"lock": 1, "urls": ["a"]}',
    ],
)  # fmt: skip
def test_a_damaged_lock_is_refused_not_ignored(content: bytes) -> None:
    with pytest.raises(UsageError):
        parse_lock(content, "Dockerfile.lock")


def test_what_moved_is_listed_once() -> None:
    old = Lock({"a": A, "b": A}, gits={"r": COMMIT})

    assert moved(old, Lock({"a": B, "c": B, "b": A})) == [
        Moved("a", A, B), Moved("c", None, B), Moved("r", COMMIT, None),
    ]  # fmt: skip


def test_pins_are_found_by_the_names_of_needs() -> None:
    pinning = Pinning(Lock({NAME: A}, {URL: B}, {"https://x/r.git#v1": COMMIT}))

    assert pinning.image(ImageNeed(NAME, AMD64)) == A
    assert pinning.url(HttpNeed(URL)) == B
    assert pinning.git(GitNeed("https://x/r.git", "v1")) == COMMIT
    assert pinning.git(GitNeed("https://x/r.git")) is None


@pytest.mark.parametrize("lock", [None, Lock()])
def test_a_required_lock_must_pin_everything(lock: Lock | None) -> None:
    pinning = Pinning(lock, "Dockerfile.lock", is_required=True)

    with pytest.raises(Conflict):
        pinning.image(ImageNeed(NAME, AMD64))
    with pytest.raises(Conflict):
        pinning.url(HttpNeed(URL))
    with pytest.raises(Conflict):
        pinning.git(GitNeed("https://x/r.git"))


def test_what_pins_itself_needs_no_lock() -> None:
    pinning = Pinning(None, "Dockerfile.lock", is_required=True)

    assert pinning.image(ImageNeed(f"{NAME}@{A}", AMD64)) is None
    assert pinning.image(ImageNeed("oci-layout:///somewhere", AMD64)) is None
    assert pinning.url(HttpNeed(URL, A)) is None
    assert pinning.git(GitNeed("https://x/r.git", COMMIT)) is None
