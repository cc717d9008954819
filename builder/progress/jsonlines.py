"""Progress as one JSON object a line: `{"type": "started", "step": …}`, for programs.

A log's bytes come as `text` where they are UTF-8, as `base64` where they are not.
"""

import json

from builder.events import Event, Log
from builder.progress.writer import Writer


class JsonLines:
    """A sink that writes every event as an object. Safe to call from any thread."""

    def __init__(self, writer: Writer) -> None:
        """Write to a writer that the caller closes."""
        self._writer = writer

    def __call__(self, event: Event) -> None:
        """Write an event."""
        line = json.dumps(as_object(event), ensure_ascii=True) + "\n"
        self._writer.write(line.encode(), is_log=isinstance(event, Log))

    def close(self) -> None:
        """Nothing is kept back."""


def as_object(event: Event) -> dict[str, object]:
    """Give an event as a JSON object, named by its type."""
    fields = {"type": type(event).__name__.lower(), **event._asdict()}
    if isinstance(event, Log):
        del fields["chunk"]
        fields.update(_text(event.chunk))
    return fields


def _text(chunk: bytes) -> dict[str, str]:
    try:
        return {"text": chunk.decode()}
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(chunk).decode()}
