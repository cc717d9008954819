import os
import socket
from threading import Thread

import pytest

from builder.errors import Conflict
from builder.networks import proxy


def test_a_port_that_is_taken_is_a_conflict() -> None:
    first = proxy.listen("127.0.0.1", 0, 0, container_port=80, protocol="tcp")
    port = first.binding.host_port

    with pytest.raises(Conflict, match="port is already allocated"):
        proxy.listen("127.0.0.1", port, port, container_port=80, protocol="tcp")
    first.socket.close()


def test_a_range_gives_its_first_free_port() -> None:
    first = proxy.listen("127.0.0.1", 0, 0, container_port=80, protocol="tcp")
    port = first.binding.host_port

    second = proxy.listen("127.0.0.1", port, port + 20, container_port=80, protocol="tcp")

    assert second.binding.host_port > port
    first.socket.close()
    second.socket.close()


def test_bytes_go_both_ways_and_ends_are_passed_on() -> None:
    content = os.urandom(3 << 20)
    server = socket.create_server(("127.0.0.2", 0))
    Thread(target=_echo, args=(server,), daemon=True).start()
    port = server.getsockname()[1]
    listener = proxy.listen("127.0.0.1", 0, 0, container_port=port, protocol="tcp")
    address = ("127.0.0.1", listener.binding.host_port)
    pid = proxy.start([listener], "127.0.0.2")

    with socket.create_connection(address) as caller:
        Thread(target=_send, args=(caller, content), daemon=True).start()
        received = bytearray()
        while piece := caller.recv(1 << 16):
            received += piece
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    server.close()

    assert received == content


def test_datagrams_come_back_to_who_sent_them() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.2", 0))
    port = server.getsockname()[1]
    listener = proxy.listen("127.0.0.1", 0, 0, container_port=port, protocol="udp")
    address = ("127.0.0.1", listener.binding.host_port)
    pid = proxy.start([listener], "127.0.0.2")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(5)
        caller.sendto(b"ping", address)
        content, sender = server.recvfrom(100)
        server.sendto(content.upper(), sender)
        reply = caller.recv(100)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    server.close()

    assert reply == b"PING"


def _echo(server: socket.socket) -> None:
    connection, _address = server.accept()
    with connection:
        while piece := connection.recv(1 << 16):
            connection.sendall(piece)


def _send(caller: socket.socket, content: bytes) -> None:
    caller.sendall(content)
    caller.shutdown(socket.SHUT_WR)
