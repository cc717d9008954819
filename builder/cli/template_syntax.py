"""The syntax of `--format` templates: text to a tree. Nothing is evaluated here.

The language is Go's text/template without definitions of other templates: fields, variables,
pipelines, parentheses, `if`, `with`, `range`, `break`, `continue`, and trimming by `{{-` and `-}}`.

Spec: Go standard library, text/template.
"""

import re
from collections.abc import Callable

from builder.errors import UsageError
from builder.values import NamedTuple

MAX_TEMPLATE = 1 << 16
MAX_NESTING = 100
_CLOSERS = frozenset({"end", "else"})
_BLOCKS = frozenset({"if", "with", "range"})

_ACTION = re.compile(r"""(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)'|[^"`'])*?}}""")
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<character>'(?:[^'\\\n]|\\.)')
    | (?P<number>[-+]?\d+(?:\.\d+)?(?![\w.]))
    | (?P<field>\.[^\W\d]\w*)
    | (?P<variable>\$\w*)
    | (?P<word>[^\W\d]\w*)
    | (?P<mark>:=|[|(),=.])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "0": "\0"}


class Literal(NamedTuple):
    """A constant."""

    value: str | int | float | bool | None


class Variable(NamedTuple):
    """`$name`; the empty name is the value that the template was given."""

    name: str


class Dot(NamedTuple):
    """The current value."""


class Function(NamedTuple):
    """A function by its name."""

    name: str


class Field(NamedTuple):
    """A member of what an operand gives."""

    operand: "Operand"
    name: str


class Pipeline(NamedTuple):
    """Commands, each fed the result of the one before; and variables that take the last result."""

    commands: tuple[tuple["Operand", ...], ...]
    variables: tuple[str, ...] = ()
    is_declaration: bool = False


Operand = Literal | Variable | Dot | Function | Field | Pipeline


class Text(NamedTuple):
    """Text between actions."""

    text: str


class Action(NamedTuple):
    """A pipeline whose result is written, unless it goes to a variable."""

    pipeline: Pipeline


class Block(NamedTuple):
    """`if`, `with` or `range`, its body, and what stands in the `else`."""

    keyword: str
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


class Jump(NamedTuple):
    """`break` or `continue`."""

    keyword: str


Node = Text | Action | Block | Jump


class Token(NamedTuple):
    """A piece of an action; `spaced` says that a blank stands before it."""

    kind: str
    text: str
    spaced: bool


def parse(text: str) -> tuple[Node, ...]:
    """Read a template; raise UsageError where it is malformed."""
    if len(text) > MAX_TEMPLATE:
        raise UsageError(f"the template is longer than {MAX_TEMPLATE} characters")
    return _Parser(_pieces(text)).template()


def malformed(why: str) -> UsageError:
    """Say what is wrong with a template."""
    return UsageError(
        f"template parsing error: {why}", fix="templates look like {{.Field}} or {{json .}}"
    )


def _pieces(text: str) -> list[str | list[Token]]:
    r"""Split a template into text and the tokens of its actions.

    `\t` and `\n` in text are escapes, as docker has it; in actions they stand within quotes.
    """
    pieces: list[str | list[Token]] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end, inner, trims_left, trims_right = _action(text, start)
        before = text[position:start]
        pieces.append(before.rstrip(" \t\r\n") if trims_left else before)
        if not (inner.startswith("/*") and inner.endswith("*/")):
            pieces.append(_tokens(inner))
        position = end
        if trims_right:
            position += len(text[end:]) - len(text[end:].lstrip(" \t\r\n"))
    pieces.append(text[position:])
    return [
        piece.replace("\\t", "\t").replace("\\n", "\n") if isinstance(piece, str) else piece
        for piece in pieces
        if piece != ""
    ]


def _action(text: str, start: int) -> tuple[int, str, bool, bool]:
    """Find the end of an action: its `}}` outside of quotes."""
    if text.startswith(("{{/*", "{{- /*"), start):
        closing = text.find("*/", start)
        end = text.find("}}", closing) if closing >= 0 else -1
    else:
        match = _ACTION.match(text, start + 2)
        end = match.end() - 2 if match else -1
    if end < 0:
        raise malformed("an action is not closed by }}")
    inner = text[start + 2 : end]
    trims_left = inner[:1] == "-" and inner[1:2].isspace()
    inner = inner[1:] if trims_left else inner
    trims_right = inner[-1:] == "-" and inner[-2:-1].isspace()
    inner = inner[:-1] if trims_right else inner
    return end + 2, inner.strip(), trims_left, trims_right


def _tokens(inner: str) -> list[Token]:
    tokens = []
    position = 0
    while position < len(inner.rstrip()):
        match = _TOKEN.match(inner, position)
        if match is None or match.lastgroup is None:
            raise malformed(f"unexpected {inner[position:].strip()[:40]!r}")
        kind = match.lastgroup
        start = match.start(kind)
        tokens.append(Token(kind, match[kind], spaced=start > position))
        position = match.end()
    if not tokens:
        raise malformed("an action is empty")
    return tokens


class _Parser:
    """Reads pieces one by one, and goes one level deeper for a block."""

    def __init__(self, pieces: list[str | list[Token]]) -> None:
        self._pieces = pieces
        self._next = 0
        self._depth = 0
        self._loops = 0

    def template(self) -> tuple[Node, ...]:
        nodes, closer = self._nodes()
        if closer:
            raise malformed(f"unexpected {closer[0].text}")
        return nodes

    def _nodes(self) -> tuple[tuple[Node, ...], list[Token]]:
        """Read up to an `end` or `else`, whose tokens are returned; none at the end of all."""
        nodes: list[Node] = []
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            self._next += 1
            if isinstance(piece, str):
                nodes.append(Text(piece))
                continue
            word = piece[0].text if piece[0].kind == "word" else ""
            if word in _CLOSERS:
                return tuple(nodes), piece
            nodes.append(self._node(word, piece))
        return tuple(nodes), []

    def _node(self, word: str, tokens: list[Token]) -> Node:
        if word in _BLOCKS:
            return self._block(word, tokens[1:])
        if word in {"break", "continue"} and len(tokens) == 1:
            if not self._loops:
                raise malformed(f"{word} outside of a range")
            return Jump(word)
        if word in {"define", "template", "block"}:
            raise malformed(f"{word} is not supported")
        return Action(_Expression(tokens).whole())

    def _block(self, keyword: str, tokens: list[Token]) -> Block:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise malformed(f"blocks are nested more than {MAX_NESTING} levels deep")
        pipeline = _Expression(tokens).whole(is_range=keyword == "range")
        self._loops += keyword == "range"
        body, closer = self._nodes()
        self._loops -= keyword == "range"
        otherwise = self._otherwise(keyword, closer)
        self._depth -= 1
        return Block(keyword, pipeline, body, otherwise)

    def _otherwise(self, keyword: str, closer: list[Token]) -> tuple[Node, ...]:
        """Read what follows an `else`, up to the `end`; `else if` shares the outer `end`."""
        words = [token.text for token in closer]
        if words[:2] in (["else", "if"], ["else", "with"]) and keyword != "range":
            return (self._block(words[1], closer[2:]),)
        otherwise: tuple[Node, ...] = ()
        if words == ["else"]:
            otherwise, closer = self._nodes()
            words = [token.text for token in closer]
        if words != ["end"]:
            raise malformed(f"{keyword} has no end")
        return otherwise


class _Expression:
    """Reads the tokens of one action as a pipeline."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self, *, is_range: bool = False) -> Pipeline:
        pipeline = self._pipeline(is_range=is_range)
        if self._next < len(self._tokens):
            raise malformed(f"unexpected {self._tokens[self._next].text[:40]!r}")
        return pipeline

    def _peek(self, *kinds: str) -> Token | None:
        if self._next < len(self._tokens) and self._tokens[self._next].kind in kinds:
            return self._tokens[self._next]
        return None

    def _mark(self, text: str) -> bool:
        token = self._peek("mark")
        if token is None or token.text != text:
            return False
        self._next += 1
        return True

    def _pipeline(self, *, is_range: bool = False) -> Pipeline:
        variables, is_declaration = self._variables(is_range=is_range)
        commands = [self._command()]
        while self._mark("|"):
            commands.append(self._command())
        return Pipeline(tuple(commands), variables, is_declaration)

    def _variables(self, *, is_range: bool) -> tuple[tuple[str, ...], bool]:
        """Read `$x :=`, `$x =`, and for range `$i, $x :=`; nothing if it is none of these."""
        start = self._next
        names: list[str] = []
        while (token := self._peek("variable")) is not None:
            self._next += 1
            names.append(token.text[1:])
            if not (is_range and len(names) == 1 and self._mark(",")):
                break
        if names and self._mark(":="):
            return tuple(names), True
        if names and self._mark("="):
            return tuple(names), False
        self._next = start
        return (), False

    def _command(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token.kind == "mark" and token.text in {"|", ")"}:
                break
            operands.append(self._operand(token))
        if not operands:
            raise malformed("a command is missing")
        return tuple(operands)

    def _operand(self, token: Token) -> Operand:
        self._next += 1
        operand = self._term(token)
        while (field := self._peek("field")) is not None and not field.spaced:
            self._next += 1
            operand = Field(operand, field.text[1:])
        return operand

    def _term(self, token: Token) -> Operand:
        if token.kind == "mark" and token.text == "(":
            return self._parenthesis()
        read = _TERMS.get(token.text if token.kind == "mark" else token.kind)
        if read is None:
            raise malformed(f"unexpected {token.text[:40]!r}")
        return read(token.text)

    def _parenthesis(self) -> Pipeline:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise malformed(f"parentheses are nested more than {MAX_NESTING} levels deep")
        pipeline = self._pipeline()
        if not self._mark(")"):
            raise malformed("a parenthesis is not closed")
        self._depth -= 1
        return pipeline


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text[1:-1])


_WORDS = {"true": Literal(value=True), "false": Literal(value=False), "nil": Literal(None)}
_TERMS: dict[str, Callable[[str], Operand]] = {
    "string": lambda text: Literal(_unquoted(text)),
    "character": lambda text: Literal(ord(_unquoted(text))),
    "number": lambda text: Literal(float(text) if "." in text else int(text)),
    "field": lambda text: Field(Dot(), text[1:]),
    "variable": lambda text: Variable(text[1:]),
    "word": lambda text: _WORDS.get(text) or Function(text),
    ".": lambda _text: Dot(),
}
