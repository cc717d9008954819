"""SSH agents for build steps: a socket of our own, each connection forwarded to the client's agent.

The user's own socket is never shown to a step: its mode and owner stay as they are, and it stops
being reachable when the step ends.
"""

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from builder.engine.request import Agent
from builder.errors import NotFound
from builder.store.store import Store

CHUNK_BYTES = 16 << 10


def lenders(
    agents: Sequence[Agent], store: Store
) -> Mapping[str, Callable[[], AbstractContextManager[str]]]:
    """Map each ID to what opens a forwarded socket for one step."""
    return {agent.id: _lender(agent, store) for agent in agents}


def _lender(agent: Agent, store: Store) -> Callable[[], AbstractContextManager[str]]:
    """Choose between a socket and private keys, for which an agent is started."""
    for path in agent.paths:
        if not os.path.exists(path):
            raise NotFound(
                f"--ssh {agent.id} names {path!r}, which does not exist",
                fix="give the socket of an agent, or private keys",
            )
    if agent.paths and not stat.S_ISSOCK(os.stat(agent.paths[0]).st_mode):
        return partial(_lent_keys, agent.paths, store)
    return partial(_lent, _socket_of(agent), store)


@contextmanager
def _lent_keys(keys: Sequence[str], store: Store) -> Iterator[str]:
    from builder.engine.own_agent import own_agent

    with own_agent(keys, store) as agent_path, _lent(agent_path, store) as path:
        yield path


def _socket_of(agent: Agent) -> str:
    path = agent.paths[0] if agent.paths else os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise NotFound(
            f"--ssh {agent.id} needs an agent, and SSH_AUTH_SOCK is not set",
            fix="start ssh-agent, or name its socket with --ssh ID=PATH",
        )
    if not os.path.exists(path):
        raise NotFound(f"the SSH agent socket {path!r} does not exist")
    return path


@contextmanager
def _lent(agent_path: str, store: Store) -> Iterator[str]:
    directory = store.temporary(".ssh")
    path = f"{directory}/agent"
    server = socket.socket(socket.AF_UNIX)
    _bind(server, directory, "agent")
    server.listen()
    thread = threading.Thread(target=_serve, args=(server, agent_path), daemon=True)
    thread.start()
    try:
        yield path
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        store.discard(directory)


def _bind(server: socket.socket, directory: str, name: str) -> None:
    """Bind by way of a descriptor: a socket's path has room for 107 bytes only (unix(7))."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        server.bind(f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)


def _serve(server: socket.socket, agent_path: str) -> None:
    while True:
        try:
            client, _address = server.accept()
        except OSError:
            return
        agent = socket.socket(socket.AF_UNIX)
        try:
            agent.connect(agent_path)
        except OSError:
            client.close()
            agent.close()
            continue
        for source, target in ((client, agent), (agent, client)):
            threading.Thread(target=_forward, args=(source, target), daemon=True).start()


def _forward(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    except OSError:
        return
    finally:
        _end_writing(target)


def _end_writing(target: socket.socket) -> None:
    """End the writing side of a connection; its peer may have gone already."""
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
