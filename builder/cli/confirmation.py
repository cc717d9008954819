"""Ask before something is lost."""

import os

from builder.cli.session import Session

_STDIN = 0
_MAX_ANSWER = 1024


def is_confirmed(session: Session, warning: str) -> bool:
    """Ask on standard error, and read a line: only `y` or `yes` counts, the end of input is no."""
    session.note(f"WARNING! {warning}\nAre you sure you want to continue? [y/N]")
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < _MAX_ANSWER:
        byte = os.read(_STDIN, 1)
        if not byte:
            break
        answer += byte
    return answer.strip().lower() in {b"y", b"yes"}
