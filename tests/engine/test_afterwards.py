import os
import time
from collections.abc import Callable
from pathlib import Path

from builder.engine.afterwards import Afterwards, tidy
from builder.store.store import Store


def in_ending_process(work: Callable[[], None]) -> None:
    """Run something in a process that ends right behind it, and wait for its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def wait_for(path: Path) -> bool:
    deadline_s = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    return path.exists()


def test_work_is_done_in_order_whatever_fails(tmp_path: Path) -> None:
    def note(text: str) -> None:
        with (tmp_path / "notes").open("a") as notes:
            notes.write(text)

    def fail() -> None:
        note("fail ")
        raise ValueError("nobody hears this")

    def body() -> None:
        afterwards = Afterwards()
        afterwards.add(lambda: note("second "))
        afterwards.add(fail)
        afterwards.add(lambda: note("fourth "))
        afterwards.add((tmp_path / "done").touch)
        afterwards.add(lambda: note("first "), is_first=True)
        afterwards.start()

    in_ending_process(body)

    assert wait_for(tmp_path / "done")
    assert (tmp_path / "notes").read_text() == "first second fail fourth "


def test_nobody_waits_for_the_work(tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def work() -> None:
        wait_for(tmp_path / "go")
        (tmp_path / "done").touch()

    def body() -> None:
        os.dup2(writing, 1)
        afterwards = Afterwards()
        afterwards.add(work)
        afterwards.start()

    in_ending_process(body)
    os.close(writing)

    assert os.read(reading, 1) == b""  # standard output is closed already
    os.close(reading)
    assert not (tmp_path / "done").exists()
    (tmp_path / "go").touch()
    assert wait_for(tmp_path / "done")


def test_without_work_there_is_no_process(tmp_path: Path) -> None:
    def body() -> None:
        Afterwards().start()
        own = os.getpid()
        children = Path(f"/proc/{own}/task/{own}/children").read_text()
        (tmp_path / "children").write_text(children)

    in_ending_process(body)

    assert (tmp_path / "children").read_text() == ""


def test_tidying_makes_a_store_durable_and_empties_its_trash(tmp_path: Path) -> None:
    root = str(tmp_path / "state")
    with Store.open(root) as store:
        store.content.put(b"x")
        store.discard(store.temporary())

    tidy(root)

    with Store.open(root) as store:
        assert store.content.unsynced() == []
        assert os.listdir(store.paths.trash) == []


def test_a_store_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    tidy(str(tmp_path / "absent"))

    assert not (tmp_path / "absent").exists()
