"""Cache records."""

import threading
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.concurrency import CancelToken
from builder.oci.digest import Digest, key
from builder.store.records import Part, Record, StepRecord
from builder.store.store import Store
from tests.store.conftest import new_snapshot

FAST, SLOW, STEP = key("fast"), key("slow"), key("step")
PARTS: tuple[Part, ...] = (("op", "RUN make", key("op")), ("content", "/src\n", key("content")))

pytestmark = pytest.mark.root


def save(store: Store, fast: Digest, slow: Digest, snapshot: int | None) -> None:
    store.records.save(
        fast, slow, snapshot=snapshot, extra=b"x", step=STEP, name="RUN make", parts=PARTS
    )


def found(store: Store, keys: Iterable[Digest]) -> dict[Digest, Record]:
    records = ((key, store.records.find(key)) for key in keys)
    return {key: record for key, record in records if record is not None}


def test_a_result_is_found_under_both_keys(store: Store) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})

    save(store, FAST, SLOW, snapshot.id)

    for wanted in (FAST, SLOW):
        record = store.records.find(wanted)
        assert record is not None
        assert record[:5] == (wanted, SLOW, snapshot.id, b"x", "RUN make")
    assert store.records.find(STEP) is None


def test_a_result_without_snapshot_is_found(store: Store) -> None:
    save(store, FAST, SLOW, None)

    assert found(store, [FAST, STEP, SLOW]).keys() == {FAST, SLOW}


def test_a_record_whose_snapshot_is_gone_is_a_miss_for_good(store: Store) -> None:
    save(store, FAST, SLOW, 77)

    assert store.records.find(FAST) is None
    assert store.database.query("SELECT count(*) FROM records WHERE key = ?", FAST) == [(0,)]


def test_what_was_found_is_pinned(store: Store, root: str) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})
    save(store, FAST, SLOW, snapshot.id)
    store.close()

    with Store.open(root) as other:
        other.records.find(FAST)
        assert other.leases.live().snapshots == {snapshot.id}


def test_the_last_run_of_a_step_is_told(store: Store) -> None:
    assert store.records.last(STEP) is None

    save(store, FAST, SLOW, None)

    last = store.records.last(STEP)
    assert last is not None
    assert last == StepRecord(STEP, SLOW, "RUN make", PARTS, last.time_s)


def test_the_time_of_last_use_is_written_at_the_end_and_never_goes_back(
    store: Store, root: str
) -> None:
    save(store, FAST, SLOW, None)
    store.database.query("UPDATE records SET last_used_s = 5 WHERE key = ?", FAST)
    future_s = int(time.time()) + 86_400
    store.database.query("UPDATE records SET last_used_s = ? WHERE key = ?", future_s, SLOW)

    found(store, [FAST, SLOW])
    store.close()

    with Store.open(root) as other:
        records = found(other, [FAST, SLOW])
    assert records[FAST].last_used_s > 5
    assert records[SLOW].last_used_s == future_s


def test_of_two_builds_one_waits_for_the_key(store: Store, root: str) -> None:
    order: list[str] = []

    def second() -> None:
        with Store.open(root) as other, other.records.locked(SLOW, CancelToken()):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.records.locked(SLOW, CancelToken()):
        thread.start()
        time.sleep(0.02)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_memos_are_kept(store: Store) -> None:
    assert store.records.memo(b"k") is None

    store.records.remember(b"k", b"old")
    store.records.remember(b"k", b"new")

    assert store.records.memo(b"k") == b"new"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
digests = st.binary(max_size=4).map(lambda content: key("test", content))
parts = st.lists(st.tuples(texts, texts, digests), max_size=5)
saves = st.lists(st.tuples(digests, digests, st.binary(max_size=20), texts, parts), max_size=12)


@settings(max_examples=30, deadline=None)
@given(saves=saves)
def test_records_are_a_map_from_keys_to_the_last_result(
    tmp_path_factory: pytest.TempPathFactory,
    saves: list[tuple[Digest, Digest, bytes, str, list[Part]]],
) -> None:
    expected: dict[Digest, tuple[Digest, bytes, str]] = {}
    with Store.open(str(tmp_path_factory.mktemp("records"))) as store:
        for fast, slow, extra, name, made_from in saves:
            store.records.save(
                fast, slow, snapshot=None, extra=extra, step=fast, name=name, parts=made_from
            )
            expected[fast] = expected[slow] = (slow, extra, name)
            last = store.records.last(fast)
            assert last is not None
            assert last.parts == tuple(made_from)

        records = found(store, expected)

    assert {k: (r.slow, r.extra, r.name) for k, r in records.items()} == expected
