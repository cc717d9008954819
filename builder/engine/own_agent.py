"""An SSH agent of our own for private keys given by file: it lives as long as a step needs it."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from builder.errors import BuilderError, NotFound
from builder.store.store import Store

START_TIMEOUT_S = 10.0
_POLL_S = 0.01
_NAME = "agent"


@contextmanager
def own_agent(keys: Sequence[str], store: Store) -> Iterator[str]:
    """Start ssh-agent with keys and give its socket; raise BuilderError for a key it refuses."""
    import subprocess

    paths = [os.path.abspath(key) for key in keys]
    directory = store.temporary(".keys")
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", _NAME],  # a relative path: those of sockets must be short
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(directory)
            _add(paths, directory)
            yield f"/proc/self/fd/{folder}/{_NAME}"
        finally:
            process.kill()
            process.wait()
    except FileNotFoundError:
        raise NotFound("ssh-agent is not installed", fix="give a socket with --ssh") from None
    finally:
        os.close(folder)
        store.discard(directory)


def _wait(directory: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not os.path.exists(f"{directory}/{_NAME}"):
        if time.monotonic() > deadline:
            raise BuilderError("ssh-agent did not start")
        time.sleep(_POLL_S)


def _add(keys: Sequence[str], directory: str) -> None:
    import subprocess

    done = subprocess.run(
        ["ssh-add", "-q", "--", *keys],
        cwd=directory,
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "SSH_AUTH_SOCK": _NAME},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise BuilderError(
            f"ssh-agent does not take the key: {said}",
            fix="add a key with a passphrase to your own agent, and use --ssh default",
        )
