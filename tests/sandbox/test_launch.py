import threading
from socket import socket, socketpair

from hypothesis import given
from hypothesis import strategies as st

from builder.kernel import syscalls
from builder.sandbox.launch import Exit, Sandbox, clone_flags, decode, encode
from builder.sandbox.spec import (
    Bind,
    Device,
    Directory,
    FileMount,
    Mount,
    Overlay,
    OverlayMount,
    Rlimit,
    Running,
    SandboxSpec,
    Tmpfs,
)

_text = st.text(max_size=8) | st.just("\udcff")
_overlays = st.builds(Overlay, st.lists(_text, max_size=3).map(tuple), _text, _text, st.booleans())
_mounts: st.SearchStrategy[Mount] = st.one_of(
    st.builds(Bind, _text, st.one_of(_text, st.integers(0, 9)), _text, st.booleans()),
    st.builds(OverlayMount, _text, _overlays, _text),
    st.builds(Tmpfs, _text, st.integers(0, 2**40)),
    st.builds(FileMount, _text, st.binary(max_size=9)),
)
_specs = st.builds(
    SandboxSpec,
    root=st.one_of(_overlays, st.builds(Directory, _text), st.builds(Running, st.integers(1))),
    argv=st.lists(_text, max_size=3).map(tuple),
    mounts=st.lists(_mounts, max_size=4).map(tuple),
    network=st.sampled_from(["none", "host", 3]),
    seccomp=st.one_of(st.none(), st.just("default"), st.binary(max_size=8)),
    devices=st.lists(st.builds(Device, _text), max_size=2).map(tuple),
    rlimits=st.just((Rlimit(7, -1, 2**63),)),
)


@given(_specs)
def test_a_spec_survives_the_journey(spec: SandboxSpec) -> None:
    assert decode(encode(spec)) == spec


def test_namespaces_are_private_unless_said_otherwise() -> None:
    spec = SandboxSpec(Directory("/"), ("true",))

    assert clone_flags(spec) == (
        syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWPID
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWUTS
        | syscalls.CLONE_NEWNET
    )
    shared = spec._replace(network="host", pid="host", ipc="host", uts="host")
    assert clone_flags(shared) == syscalls.CLONE_NEWNS


def test_a_running_container_is_joined_without_new_namespaces() -> None:
    assert clone_flags(SandboxSpec(Running(1), ("true",))) == 0


class SlowLifeline:
    """A process that has ended, and whose first signal takes as long as the test wants."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.is_signalling = threading.Event()
        self.may_go_on = threading.Event()
        self._ours, self._theirs = socketpair()

    def pid(self) -> int:
        return 1

    def status(self) -> socket:
        return self._ours

    def fileno(self) -> int:
        return self._ours.fileno()

    def has_ended(self, timeout_s: float | None) -> bool:
        return timeout_s is None

    def take_exit(self) -> Exit:
        return Exit(0, None, 0, 0.0, 0.0)

    def kill(self, signal: int) -> None:
        if not self.is_signalling.is_set():
            self.is_signalling.set()
            self.may_go_on.wait()
            self.order.append(f"signal {signal}")

    def close(self) -> None:
        self.order.append("closed")
        self._ours.close()
        self._theirs.close()


def test_no_descriptor_is_closed_while_another_thread_signals_through_it() -> None:
    lifeline = SlowLifeline()
    sandbox = Sandbox(lifeline, "true")
    cancelling = threading.Thread(target=sandbox.kill, args=(15,))
    closing = threading.Thread(target=sandbox.close)

    cancelling.start()
    lifeline.is_signalling.wait()
    closing.start()
    closing.join(0.1)  # it may go wrong now
    lifeline.may_go_on.set()
    cancelling.join()
    closing.join()
    sandbox.kill()

    assert lifeline.order == ["signal 15", "closed"]
