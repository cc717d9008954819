"""Servers on loopback: a real registry, a hostile one, and a proxy that spoils traffic."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.engine.archives import config_of, sha

USER, PASSWORD = "user", "secret"
HTPASSWD = "user:$2b$04$F01QRE.jYokX3k7iBgZsQOTz1ESh0PhOJpy2/fHLonlAAyu0b7D82\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
START_S = 10


class Answer(NamedTuple):
    """What a scripted server says."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    is_broken: bool = False
    """Close the connection after the body, whatever length was announced."""


class Seen(NamedTuple):
    """One request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Script = Callable[[Seen], Answer | None]


class Server(ThreadingHTTPServer):
    """Answers by a script and remembers what was asked."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.seen: list[Seen] = []
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Clients break off as they like."""

    def paths(self, method: str = "GET") -> list[str]:
        return [seen.path for seen in self.seen if seen.method == method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[mutable-override]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        is_chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self._chunks() if is_chunked else self.rfile.read(length)
        seen = Seen(self.command, self.path, dict(self.headers), body)
        self.server.seen.append(seen)
        answer = self.server.script(seen) or Answer(404)
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        if answer.is_broken:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_HEAD = _answer  # noqa: N815 - the library calls them so
    do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815


@contextmanager
def serving(script: Script) -> Iterator[Server]:
    with Server(script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Image(NamedTuple):
    """An image of one plain layer, as blobs."""

    manifest: bytes
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return f"sha256:{sha(self.manifest)}"

    @property
    def layer(self) -> str:
        return str(json.loads(self.manifest)["layers"][0]["digest"])

    def script(self, seen: Seen) -> Answer | None:
        """Serve the image under any name and tag."""
        if seen.path == "/v2/":
            return Answer(200, {}, b"{}")
        if "/manifests/" in seen.path:
            headers = {"Content-Type": MANIFEST, "Docker-Content-Digest": self.digest}
            return Answer(200, headers, self.manifest)
        blob = self.blobs.get(seen.path.rpartition("/")[2])
        return None if blob is None else Answer(200, {}, blob)


def image_of(layer: bytes, **changes: Any) -> Image:
    """Make an image; changes are made to its manifest."""
    config = config_of([layer])
    blobs = {f"sha256:{sha(one)}": one for one in (layer, config)}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{sha(config)}",
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": f"sha256:{sha(layer)}",
                "size": len(layer),
            }
        ],
        **changes,
    }
    return Image(json.dumps(document).encode(), blobs)


class Registry(NamedTuple):
    """A running docker-registry."""

    host: str
    directory: Path


def binary() -> str | None:
    return shutil.which("docker-registry")


@contextmanager
def registry(
    directory: Path,
    http_more: str = "",
    more: str = "",
    storage_more: str = "delete: {enabled: true}",
) -> Iterator[Registry]:
    """Run a real registry on a free port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, {storage_more}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'{http_more}}}\n{more}"
    )
    program = binary()
    assert program is not None
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _await(port, process)
        yield Registry(f"127.0.0.1:{port}", directory)
    finally:
        process.terminate()
        process.wait(START_S)


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("docker-registry did not start")


class Spoiler:
    """A proxy before a registry; `spoil` may change what it forwards, or answer instead."""

    def __init__(self, upstream: str, spoil: Callable[[Seen, int], Answer | None]) -> None:
        self._upstream = upstream
        self._spoil = spoil
        self._counts: dict[tuple[str, str], int] = {}
        self.host = ""

    def script(self, seen: Seen) -> Answer:
        key = (seen.method, seen.path.partition("?")[0])
        self._counts[key] = self._counts.get(key, 0) + 1
        spoilt = self._spoil(seen, self._counts[key])
        return spoilt if spoilt is not None else self.forward(seen)

    def forward(self, seen: Seen, body: bytes | None = None) -> Answer:
        """Ask the real registry."""
        content = seen.body if body is None else body
        skipped = {"host", "content-length", "transfer-encoding", "connection", "authorization"}
        headers = {k: v for k, v in seen.headers.items() if k.lower() not in skipped}
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            connection.request(seen.method, seen.path, content, headers)
            response = connection.getresponse()
            answered = response.read()
            named = {
                name: value.replace(self._upstream, self.host)
                for name, value in response.getheaders()
                if name.lower() not in {"connection", "date", "server", "transfer-encoding"}
            }
            return Answer(response.status, named, answered)
        finally:
            connection.close()


@contextmanager
def spoiling(upstream: str, spoil: Callable[[Seen, int], Answer | None]) -> Iterator[Server]:
    spoiler = Spoiler(upstream, spoil)
    with serving(spoiler.script) as server:
        spoiler.host = server.host
        yield server


def peer_environment(directory: Path) -> dict[str, str]:
    """Give a tool of others an empty file of credentials: its own may be somebody else's."""
    path = directory / "peer-auth.json"
    path.write_text("{}")
    return {**os.environ, "REGISTRY_AUTH_FILE": str(path)}
