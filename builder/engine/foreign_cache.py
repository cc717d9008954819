"""Caches that BuildKit wrote, read and checked so that what they are can be said.

Their records are keyed by digests of BuildKit's own operations, which nothing else can compute: no
step of ours ever has such a key, and guessing by the order of layers would hand out wrong files.

Spec: moby/buildkit, cache/remotecache/v1/doc.go and spec.go.
"""

from collections.abc import Sequence

from builder.errors import InvalidImage
from builder.oci import json
from builder.oci.digest import Digest, parse_digest
from builder.values import NamedTuple

CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"
INLINE_KEY = "moby.buildkit.cache.v0"
MAX_BYTES = 32 << 20
MAX_ITEMS = 100_000
_NO_PARENT = -1


class ForeignCache(NamedTuple):
    """What another builder's cache holds."""

    records: int
    layers: tuple[Digest, ...] = ()
    """The blobs of its layers; those of an inline cache are the image's."""

    def __str__(self) -> str:
        """Say what it is, and why it is of no use here."""
        layers = f" for {len(self.layers)} layers" if self.layers else ""
        return (
            f"it was made by another builder ({self.records} records{layers}),"
            " whose keys are not ours"
        )


def parse_foreign(content: bytes) -> ForeignCache:
    """Read and check a cache config; InvalidImage for one that BuildKit would not write either."""
    value = json.load_object(content, what="the cache config", max_bytes=MAX_BYTES)
    layers = json.members(value, "layers", limit=MAX_ITEMS)
    parents = [json.integer(layer, "parent", 0) for layer in layers]
    _check_bounds(parents, len(layers), lowest=_NO_PARENT)
    _check_order([[parent] if parent >= 0 else [] for parent in parents], "layers")
    records = json.members(value, "records", limit=MAX_ITEMS)
    _check_records(records, len(layers))
    return ForeignCache(len(records), tuple(parse_digest(json.string(x, "blob")) for x in layers))


def parse_foreign_records(content: bytes, layer_count: int) -> ForeignCache:
    """Read and check the records of an inline cache, a bare list; raise InvalidImage."""
    value = json.loads(content, what="the image's cache", max_bytes=MAX_BYTES)
    records = json.members({"records": value}, "records", limit=MAX_ITEMS)
    _check_records(records, layer_count)
    return ForeignCache(len(records))


def _check_records(records: Sequence[json.Object], layer_count: int) -> None:
    links: list[list[int]] = []
    for record in records:
        json.string(record, "digest", "")
        results = json.members(record, "layers", limit=MAX_ITEMS)
        _check_bounds([json.integer(one, "layer", 0) for one in results], layer_count)
        for chain in json.members(record, "chains", limit=MAX_ITEMS):
            _check_bounds(_integers(chain.get("layers")), layer_count)
        linked = [
            json.integer(one, "link", 0)
            for choices in _lists(record.get("inputs"))
            for one in json.members({"inputs": choices}, "inputs", limit=MAX_ITEMS)
        ]
        _check_bounds(linked, len(records))
        links.append(linked)
    _check_order(links, "records")


def _check_order(needed: Sequence[Sequence[int]], what: str) -> None:
    """Raise InvalidImage if something needs itself, directly or through others."""
    users: list[list[int]] = [[] for _ in needed]
    for user, parts in enumerate(needed):
        for part in set(parts):
            users[part].append(user)
    missing = [len(set(parts)) for parts in needed]
    ready = [item for item, count in enumerate(missing) if not count]
    done = 0
    while ready:
        done += 1
        for user in users[ready.pop()]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if done != len(needed):
        raise InvalidImage(f"the {what} of the cache config form a circle")


def _check_bounds(indexes: Sequence[int], count: int, *, lowest: int = 0) -> None:
    if not all(lowest <= index < count for index in indexes):
        raise InvalidImage("the cache config points at what is not there")


def _integers(value: json.Json) -> list[int]:
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise InvalidImage("a chain of the cache config is not a list of numbers")
    return [one for one in value if isinstance(one, int)]


def _lists(value: json.Json) -> list[list[json.Json]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, list) for one in value):
        raise InvalidImage("the inputs of the cache config are not lists")
    return [one for one in value if isinstance(one, list)]
