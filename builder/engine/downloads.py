"""Download files over HTTP into the content store, and remember what servers said of them."""

from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.dockerfile.request import HttpNeed, HttpPin
from builder.engine.steps import reported
from builder.errors import BuilderError, InvalidImage, NotFound
from builder.events import Progress, Sink
from builder.oci import json
from builder.oci.digest import Digest, sha256
from builder.store.store import Store

if TYPE_CHECKING:
    import urllib3

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
MAX_REDIRECTS = 10
OK, NOT_MODIFIED = 200, 304


def pin(
    store: Store, need: HttpNeed, sink: Sink, token: CancelToken, *, is_offline: bool = False
) -> HttpPin:
    """Fetch a URL unless its content is known by checksum or unchanged at the server.

    Raises BuilderError `invalid response status N` as the reference does. Offline, what was fetched
    last is what the URL stands for.
    """
    known = _remembered(store, need.url)
    is_here = known is not None and store.content.has(known.digest)
    if known and is_here and (need.checksum == known.digest or is_offline):
        return known
    if is_offline:
        raise NotFound(
            f"{need.url} is not here, and the build is offline",
            fix="build once without --offline, so that it is fetched",
        )
    with reported(sink, f"{need.url}") as step:
        return _fetch(store, need, known, _Meter(step, need.url, sink, token))


class _Meter:
    """Reports how far a download has come, and stops it when the build is cancelled."""

    def __init__(self, step: str, url: str, sink: Sink, token: CancelToken) -> None:
        self._step = step
        self._url = url
        self._sink = sink
        self._token = token

    def advance(self, current: int, total: int) -> None:
        self._token.check()
        self._sink(Progress(self._step, self._url, current, total))


def _fetch(store: Store, need: HttpNeed, known: HttpPin | None, meter: _Meter) -> HttpPin:
    import urllib3

    headers = {"Accept-Encoding": "identity", "User-Agent": "builder"}
    etag = store.records.memo(_key("etag", need.url))
    if known is not None and etag and store.content.has(known.digest):
        headers["If-None-Match"] = etag.decode("latin-1")
    manager = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
        retries=urllib3.Retry(3, redirect=MAX_REDIRECTS, backoff_factor=0.3, raise_on_status=False),
    )
    try:
        response = manager.request("GET", need.url, headers=headers, preload_content=False)
        try:
            if response.status == NOT_MODIFIED and known is not None:
                return known
            if response.status != OK:
                raise BuilderError(f"invalid response status {response.status}")
            return _keep(store, need.url, response, meter)
        finally:
            response.close()
    except urllib3.exceptions.HTTPError as error:
        raise NotFound(f"{need.url} could not be fetched: {error}") from None


def _keep(store: Store, url: str, response: "urllib3.BaseHTTPResponse", meter: _Meter) -> HttpPin:
    hasher = sha256()
    total = int(response.headers.get("Content-Length") or 0)
    size = 0
    with store.content.ingest() as ingest:
        for chunk in response.stream(CHUNK_BYTES, decode_content=False):
            hasher.update(chunk)
            ingest.write(chunk)
            size += len(chunk)
            meter.advance(size, total)
        if total and size != total:
            raise InvalidImage(f"{url} ended after {size} of {total} bytes")
        digest = Digest(f"sha256:{hasher.hexdigest()}")
        ingest.commit(digest, size, is_verified=True)
    found = HttpPin(digest, _last_modified(response.headers.get("Last-Modified")))
    _remember(store, url, found, response.headers.get("ETag"))
    return found


def _last_modified(header: str | None) -> int:
    from email.utils import parsedate_to_datetime

    if not header:
        return 0
    try:
        return max(0, int(parsedate_to_datetime(header).timestamp()))
    except (ValueError, OverflowError):
        return 0


def _remembered(store: Store, url: str) -> HttpPin | None:
    packed = store.records.memo(_key("pin", url))
    if packed is None:
        return None
    value = json.load_object(packed, what="a remembered download")
    return HttpPin(Digest(json.string(value, "digest")), json.integer(value, "mtime", 0))


def _remember(store: Store, url: str, found: HttpPin, etag: str | None) -> None:
    packed = json.dumps({"digest": found.digest, "mtime": found.mtime_s})
    store.records.remember(_key("pin", url), packed)
    store.records.remember(_key("etag", url), (etag or "").encode("latin-1", "replace"))


def _key(kind: str, url: str) -> bytes:
    return f"http/{kind}/{url}".encode("utf-8", "surrogateescape")
