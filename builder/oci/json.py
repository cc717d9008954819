"""JSON from strangers: size, depth and number limits, and typed access that names what is wrong.

Python's parser recurses, so depth is checked on the bytes before it runs.
"""

from collections.abc import Mapping
from typing import cast

from builder.errors import InvalidImage

MAX_DEPTH = 100
MAX_DOCUMENT_BYTES = 8 << 20
_SHAPELESS = bytes(byte for byte in range(256) if byte not in b'"[]{}')

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Object = Mapping[str, Json]


def loads(content: bytes, *, what: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> Json:
    """Parse UTF-8 JSON within the limits; raise InvalidImage that starts with `what`."""
    if len(content) > max_bytes:
        raise InvalidImage(f"{what} is larger than {max_bytes} bytes")
    if _depth(content) > MAX_DEPTH:
        raise InvalidImage(f"{what} is nested more than {MAX_DEPTH} levels deep")
    import json as _json  # 2 ms, which a run of a known image does not need

    try:
        text = content.decode("utf-8")
        return cast("Json", _json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"{what} is not valid JSON: {error}") from None


def load_object(content: bytes, *, what: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> Object:
    """Parse a JSON object; raise InvalidImage for any other value."""
    value = loads(content, what=what, max_bytes=max_bytes)
    if not isinstance(value, dict):
        raise InvalidImage(f"{what} is not a JSON object")
    return value


def dumps(value: object) -> bytes:
    """Write JSON compactly and deterministically, keys in the order given."""
    import json as _json

    return _json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogateescape"
    )


def string(value: Object, name: str, default: str | None = None) -> str:
    """Read a string member; absent or null gives the default, None meaning it is required.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        raise InvalidImage(f"{name} is not a string")
    return found


def integer(value: Object, name: str, default: int | None = None) -> int:
    """Read an integer member; booleans and fractions are none.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None and default is not None:
        return default
    if not isinstance(found, int) or isinstance(found, bool):
        raise InvalidImage(f"{name} is not an integer")
    return found


def boolean(value: Object, name: str) -> bool:
    """Read a boolean member; absent is false.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None:
        return False
    if not isinstance(found, bool):
        raise InvalidImage(f"{name} is not true or false")
    return found


def strings(value: Object, name: str) -> tuple[str, ...] | None:
    """Read a list of strings; absent or null is None.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidImage(f"{name} is not a list of strings")
    return tuple(cast("list[str]", found))


def string_map(value: Object, name: str) -> dict[str, str]:
    """Read an object whose values are strings; absent or null is empty.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise InvalidImage(f"{name} is not an object of strings")
    return cast("dict[str, str]", dict(found))


def member(value: Object, name: str) -> Object | None:
    """Read an object member; absent or null is None.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InvalidImage(f"{name} is not an object")
    return found


def members(value: Object, name: str, *, limit: int) -> list[Object]:
    """Read a list of objects, at most `limit`; absent or null is empty.

    Raises InvalidImage.
    """
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or len(found) > limit:
        raise InvalidImage(f"{name} is not a list of at most {limit} items")
    for item in found:
        if not isinstance(item, dict):
            raise InvalidImage(f"an item of {name} is not an object")
    return cast("list[Object]", found)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _depth(content: bytes) -> int:
    """Bound the nesting from above: brackets inside strings count only outside of quotes."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return 0
    # without escapes a quote begins or ends a string, and two in a row cancel each other out
    shape = content.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _SHAPELESS)
    deepest = depth = 0
    in_string = False
    for byte in shape.replace(b'""', b""):
        if byte == 0x22:  # noqa: PLR2004 - quote
            in_string = not in_string
        elif in_string:
            continue
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest
