"""From syntax nodes to typed instructions: the table of who reads what."""

import json
from collections.abc import Callable

from builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from builder.dockerfile.parsed import Parsed
from builder.errors import DockerfileError
from builder.text import nearest

_JSON_RULES = frozenset({
    "run", "cmd", "entrypoint", "shell", "copy", "add", "volume", "healthcheck",
})  # fmt: skip
# Of several equally near ones the first is suggested.
_READERS: dict[str, Callable[[Parsed], Instruction]] = {
    "workdir": Workdir.from_parsed,
    "volume": Volume.from_parsed,
    "user": User.from_parsed,
    "stopsignal": Stopsignal.from_parsed,
    "shell": Shell.from_parsed,
    "run": Run.from_parsed,
    "onbuild": Onbuild.from_parsed,
    "maintainer": Maintainer.from_parsed,
    "label": Label.from_parsed,
    "healthcheck": Healthcheck.from_parsed,
    "from": From.from_parsed,
    "expose": Expose.from_parsed,
    "env": Env.from_parsed,
    "entrypoint": Entrypoint.from_parsed,
    "copy": Copy.from_parsed,
    "cmd": Cmd.from_parsed,
    "arg": Arg.from_parsed,
    "add": Add.from_parsed,
}


def check_form(parsed: Parsed) -> None:
    """Refuse what the reference's parser refuses before it looks at any instruction."""
    rule = parsed.node.rule
    if rule in _JSON_RULES and parsed.text.startswith("[") and _is_json_array(parsed.text):
        raise parsed.fail(
            "when using JSON array syntax, arrays must be comprised of strings only",
            fix="quote every element of the array",
        )
    if rule in ("env", "label"):
        parsed.pairs()


def construct(parsed: Parsed) -> Instruction:
    """Make the typed instruction; raise DockerfileError with the reference's text."""
    reader = _READERS.get(parsed.node.rule)
    if reader is None:
        raise _unknown(parsed)
    return reader(parsed)


def _unknown(parsed: Parsed) -> DockerfileError:
    keyword = parsed.node.keyword
    near = nearest(keyword, _READERS)
    if near and keyword != keyword.lower():
        near = near.upper()
    hint = f" (did you mean {near}?)" if near else ""
    return DockerfileError(
        f"unknown instruction: {keyword}{hint}",
        span=parsed.place(parsed.node.words[0]),
        fix=f"write {near}" if near else "begin each line with an instruction, or join it with \\",
    )


def _is_json_array(text: str) -> bool:
    def refuse(_name: str) -> None:
        raise ValueError

    try:
        return isinstance(json.loads(text, parse_constant=refuse), list)
    except (ValueError, RecursionError):
        return False
