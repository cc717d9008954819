"""Run a container again that was run before: known command line, known image, nothing else asked.

A foreground `run --rm` leaves a recipe: what the command line meant, the sandbox as a program, and
the texts of a container's files with gaps. While all that it depends on is as it was, this makes
the container's directory, lets the trampoline follow the program, and waits. A container that lives
longer than a moment gets the monitor that every other has, which is loaded only then. On any doubt
the ordinary way is taken. As in `fast`, only built-in modules are imported.
"""

import _signal  # type: ignore[import-not-found]  # `signal` itself costs 3 ms more to import
import fcntl
import posix
import select
import time

from builder.cli import fast
from builder.cli.container_files import ContainerFiles, all_of, text_of

FORMAT = "instant/1"
MOMENT_S = 0.1
PROXIED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, 28)
STATUS_FD, PROGRAM_FD = 3, 4  # the next numbers after those of the standard streams
_SIGINT, _SIGKILL = 2, 9
_HIGH_FD = 20
_CHUNK_BYTES = 1 << 16
_ADDRESS_BYTES = 8
_TRASH_LIMIT = 64
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Recipe = tuple[Any, ...]


def answer(words: list[str]) -> int | None:
    """Run the container that a command line means; its exit status, None if that is not known."""
    try:
        root = fast.root_of(words, "run")
        path = fast.state_path(root, fast.identity_of(words))
        recipe = fast.read_state(path)
        if recipe is None or recipe[0] != FORMAT or not _holds(recipe, words, root):
            return None
    except fast.DOUBTS:
        return None
    _signal.pthread_sigmask(_signal.SIG_BLOCK, PROXIED)
    run = _Run(root, recipe)
    try:
        is_started = run.start()
    except OSError:
        is_started = False
    if is_started:
        return run.finish()
    run.undo()
    if run.is_unfit:
        _give_up(path)
    if _signal.getsignal(_SIGINT) is _signal.default_int_handler:
        _signal.signal(_SIGINT, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, PROXIED)
    return None


def _holds(recipe: "Recipe", words: list[str], root: bytes) -> bool:
    """Compare what the recipe depends on with what is there."""
    _format, identity, (generation, boot, host, files, nodes), *_rest = recipe
    for number in range(3):
        posix.fstat(number)  # else descriptors of ours would stand in for it
    return (
        identity == fast.identity_of(words)
        and generation == fast.generation_of(root)
        and host == posix.uname().nodename
        and boot == boot_id()
        and all(fast.state_of(path) == known for path, known in files)
        and all(posix.stat(path).st_rdev == number for path, number in nodes)
    )


def boot_id() -> str:
    """Give what the kernel calls this boot."""
    return text_of("/proc/sys/kernel/random/boot_id").decode().strip()


def _give_up(path: bytes) -> None:
    """Leave an empty file in place of a recipe that did not work, so that it is not made again."""
    try:
        posix.close(posix.open(path, posix.O_WRONLY | posix.O_TRUNC | posix.O_CLOEXEC))
    except OSError:
        return


class _Run:
    """One container, from its directory to its end."""

    def __init__(self, root: bytes, recipe: "Recipe") -> None:
        """Nothing is made yet."""
        _format, _identity, (self._generation, *_), self._lowers, self._sandbox, papers = recipe
        self._root = root.decode("utf-8", "surrogateescape")
        self._files = ContainerFiles(self._root, papers, self._sandbox[4])
        self._pid = self._pidfd = -1
        self._sources: dict[int, str] = {}
        self._said: list[tuple[str, bytes]] = []
        self._interrupts = 0
        self.is_unfit = False

    def start(self) -> bool:
        """Make the container and start it; False or OSError if it does not run."""
        if not self._files.pin() or not self._is_current():
            return False
        self._files.make()
        self.is_unfit = not self._spawn()
        if not self.is_unfit:
            self._files.started(self._pid)
        return not self.is_unfit

    def _is_current(self) -> bool:
        """Tell whether the images are still those that the recipe knew, now that ours is kept."""
        root = self._root.encode("utf-8", "surrogateescape")
        return bool(fast.generation_of(root) == self._generation)

    def finish(self) -> int:
        """Pass signals and output on until the container ends; its exit status."""
        for number in PROXIED:
            _signal.signal(number, self._proxy)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, PROXIED)
        if not self._watch():
            return self._hand_over()
        _pid, wait_status = posix.waitpid(self._pid, 0)
        code = posix.waitstatus_to_exitcode(wait_status)
        status = code if code >= 0 else 128 - code
        self._files.ended(status)
        _tidy(self._root)
        return status

    def undo(self) -> None:
        """Take everything away again that a failed start has made."""
        if self._pid > 0:
            posix.kill(self._pid, _SIGKILL)
            posix.waitpid(self._pid, 0)
        for fd in (*self._sources, self._pidfd):
            if fd >= 0:
                posix.close(fd)
        self._files.discard()
        self._files.unpin()

    def _spawn(self) -> bool:
        """Let the trampoline make the sandbox; False if it could not."""
        code, program, argv, env, _layer = self._sandbox
        pipes = [posix.pipe2(posix.O_CLOEXEC) for _ in range(3)]
        self._sources = {pipes[0][0]: "stdout", pipes[1][0]: "stderr"}
        status_fd = pipes[2][0]
        ends = [_high(writing) for _reading, writing in pipes]
        ends.append(_high(_memory(self._files.named(program))))
        actions: list[Any] = [(posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0)]
        actions += [(posix.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(ends, 1)]
        ends.append(_high(_memory(code)))
        words = ["sandbox-start", str(STATUS_FD), "p", str(PROGRAM_FD), *argv]
        file = f"/proc/self/fd/{ends[-1]}"
        starter = posix.posix_spawn(file, words, env, file_actions=actions)
        for fd in ends:
            posix.close(fd)
        said = all_of(status_fd)
        posix.close(status_fd)
        posix.waitpid(starter, 0)
        pid = int.from_bytes(said[:_ADDRESS_BYTES], "little", signed=True)
        if len(said) != _ADDRESS_BYTES or pid <= 0:
            if pid > 0:
                posix.waitpid(pid, 0)
            return False
        self._pid = pid
        self._pidfd = posix.pidfd_open(pid)
        return True

    def _proxy(self, number: int, _frame: object) -> None:
        """Pass a signal on; three interrupts in a row kill."""
        self._interrupts += number == _SIGINT
        wanted = _SIGKILL if self._interrupts >= 3 else number  # noqa: PLR2004
        try:
            _signal.pidfd_send_signal(self._pidfd, wanted)
        except ProcessLookupError:
            return

    def _watch(self) -> bool:
        """Pass output on until the end, for a moment; False if the container goes on."""
        poll, pending = select.poll(), {*self._sources, self._pidfd}
        for fd in pending:
            poll.register(fd, select.POLLIN)
        deadline_s = time.monotonic() + MOMENT_S
        while pending:
            ready = poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000)
            if not ready:
                return False
            for fd, _events in ready:
                if fd == self._pidfd or not self._pass_on(fd):
                    poll.unregister(fd)
                    pending.remove(fd)
        return True

    def _pass_on(self, fd: int) -> bool:
        """Read once and write it where the caller wants it; False at the end."""
        content = posix.read(fd, _CHUNK_BYTES)
        if not content:
            del self._sources[fd]
            posix.close(fd)
            return False
        name = self._sources[fd]
        self._said.append((name, content))
        _write(1 if name == "stdout" else 2, content)
        return True

    def _hand_over(self) -> int:
        """Leave the container to the monitor that all others have."""
        from builder.cli import loading

        loading.install()
        from builder.cli.repetition import adopted

        return adopted(
            self._root,
            self._files.id,
            pid=self._pid,
            pidfd=self._pidfd,
            sources=self._sources,
            said=tuple(self._said),
            lowers=self._lowers,
            lease_path=self._files.lease_path,
        )


def _write(fd: int, content: bytes) -> None:
    """Write all of something to who may have made his end non-blocking, or have gone."""
    while content:
        try:
            content = content[posix.write(fd, content) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError:
            return


def _high(fd: int) -> int:
    """Move a descriptor out of the way of the numbers that it is to get."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    posix.close(fd)
    return moved


def _memory(content: bytes) -> int:
    """Make a sealed file in memory, to be read from its start, or executed."""
    flags = posix.MFD_CLOEXEC | posix.MFD_ALLOW_SEALING
    try:
        fd = posix.memfd_create("init", flags | 0x10)  # MFD_EXEC
    except OSError:  # before 6.3
        fd = posix.memfd_create("init", flags)
    posix.write(fd, content)
    posix.lseek(fd, 0, 0)
    posix.fchmod(fd, 0o555)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def _tidy(root: str) -> None:
    """Let a process of its own empty the trash when much has gathered."""
    if len(posix.listdir(f"{root}/trash")) >= _TRASH_LIMIT:
        from builder.containers.tidy import tidy

        tidy(root)
