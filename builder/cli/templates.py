r"""`--format`: Go templates over JSON-like values, evaluated here without any `eval`.

A template reads values and writes text; it cannot reach anything else.

Spec: Go standard library, text/template; docker/cli, "Format command and log output".
"""

from collections.abc import Iterable, Mapping

from builder.cli.template_functions import FUNCTIONS, MISSING, call, failed, printed, truth
from builder.cli.template_syntax import (
    Action,
    Block,
    Dot,
    Field,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipeline,
    Text,
    Variable,
    malformed,
    parse,
)
from builder.text import nearest
from builder.values import NamedTuple

MAX_OUTPUT = 64 << 20
TABLE = "table"
_MIN_COLUMN = 10
_COLUMN_GAP = 3


class Listing(NamedTuple):
    """How rows are to be written: one template for each row, and whether a heading comes first."""

    template: "Template"
    is_table: bool


class Template:
    """A parsed template. `table` sets off docker's tables, `json` is short for `{{json .}}`."""

    def __init__(self, text: str) -> None:
        """Parse; raise UsageError if malformed."""
        self._nodes = parse("{{json .}}" if text.strip() == "json" else text)

    def render(self, value: object) -> str:
        """Write a value; raise UsageError if a field does not exist or a function is misused."""
        run = _Run(value)
        run.nodes(self._nodes, value)
        return "".join(run.out)


def parse_listing(text: str) -> Listing:
    """Read the `--format` of a list: a template, `json`, or `table TEMPLATE`."""
    word, _, rest = text.partition(" ")
    if word == TABLE and rest.strip():
        return Listing(Template(rest.strip()), is_table=True)
    if text.startswith((TABLE + "\\t", TABLE + "\t")):
        return Listing(Template(text.removeprefix(TABLE)), is_table=True)
    return Listing(Template(text), is_table=False)


def listing(
    format_text: str, headers: Mapping[str, str], rows: Iterable[Mapping[str, object]]
) -> str:
    """Write rows by a template, one a line; `table` puts the headers of its fields on top."""
    template, is_table = parse_listing(format_text)
    lines = [template.render(headers)] if is_table else []
    lines += [template.render(row) for row in rows]
    if is_table:
        return aligned(lines)
    return "".join(line + "\n" for line in lines)


def aligned(lines: Iterable[str]) -> str:
    """Align cells separated by tabs: at least ten characters a column, three between."""
    rows = [line.split("\t") for text in lines for line in text.split("\n")]
    widths: list[int] = []
    for row in rows:
        widths += [_MIN_COLUMN] * (len(row) - 1 - len(widths))
        for column, cell in enumerate(row[:-1]):
            widths[column] = max(widths[column], len(cell) + _COLUMN_GAP)
    return "".join(
        "".join(cell.ljust(widths[column]) for column, cell in enumerate(row[:-1])) + row[-1] + "\n"
        for row in rows
    )


class _Leave(Exception):
    """A `break` or `continue` on its way to the range."""

    def __init__(self, keyword: str) -> None:
        super().__init__(keyword)
        self.keyword = keyword


class _Run:
    """One evaluation: the output so far, and the variables in scope, the innermost last."""

    def __init__(self, value: object) -> None:
        self.out: list[str] = []
        self._variables: list[tuple[str, object]] = [("", value)]
        self._length = 0

    def nodes(self, nodes: Iterable[Node], dot: object) -> None:
        scope = len(self._variables)
        for node in nodes:
            self._node(node, dot)
        del self._variables[scope:]

    def _node(self, node: Node, dot: object) -> None:
        match node:
            case Text(text):
                self._write(text)
            case Action(pipeline):
                value = self._pipeline(pipeline, dot)
                if not pipeline.variables:
                    self._write(printed(value))
            case Block("range", pipeline, body, otherwise):
                self._range(pipeline, body, otherwise, dot)
            case Block(keyword, pipeline, body, otherwise):
                self._branch(keyword, pipeline, (body, otherwise), dot)
            case Jump(keyword):
                raise _Leave(keyword)

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_OUTPUT:
            raise failed(f"the output is larger than {MAX_OUTPUT} bytes")
        self.out.append(text)

    def _branch(
        self,
        keyword: str,
        pipeline: Pipeline,
        bodies: tuple[tuple[Node, ...], tuple[Node, ...]],
        dot: object,
    ) -> None:
        scope = len(self._variables)
        value = self._pipeline(pipeline, dot)
        if truth(value):
            self.nodes(bodies[0], value if keyword == "with" else dot)
        else:
            self.nodes(bodies[1], dot)
        del self._variables[scope:]

    def _range(
        self,
        pipeline: Pipeline,
        body: tuple[Node, ...],
        otherwise: tuple[Node, ...],
        dot: object,
    ) -> None:
        scope = len(self._variables)
        ranged = self._pipeline(pipeline._replace(variables=()), dot)
        is_empty = True
        for key, item in _items(ranged):
            is_empty = False
            del self._variables[scope:]
            named = (key, item) if len(pipeline.variables) > 1 else (item,)
            self._variables += zip(pipeline.variables, named, strict=False)
            try:
                self.nodes(body, item)
            except _Leave as leave:
                if leave.keyword == "break":
                    break
        if is_empty:
            self.nodes(otherwise, dot)
        del self._variables[scope:]

    def _pipeline(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for position, command in enumerate(pipeline.commands):
            value = self._command(command, dot, (value,) if position else ())
        if pipeline.is_declaration:
            self._variables += [(name, value) for name in pipeline.variables]
        else:
            for name in pipeline.variables:
                self._assign(name, value)
        return value

    def _command(
        self, operands: tuple[Operand, ...], dot: object, piped: tuple[object, ...]
    ) -> object:
        head, arguments = operands[0], operands[1:]
        if isinstance(head, Function):
            if head.name in {"and", "or"}:
                return self._logical(head.name, arguments, dot, piped)
            function = FUNCTIONS.get(head.name)
            if function is None:
                raise _unknown_function(head.name)
            return call(head.name, function, [*self._values(arguments, dot), *piped])
        value = self._operand(head, dot)
        if callable(value):
            return call("a method", value, [*self._values(arguments, dot), *piped])
        if arguments or piped:
            raise failed(f"{printed(value)[:40]} is not a function")
        return value

    def _values(self, operands: tuple[Operand, ...], dot: object) -> list[object]:
        return [self._operand(operand, dot) for operand in operands]

    def _logical(
        self, name: str, operands: tuple[Operand, ...], dot: object, piped: tuple[object, ...]
    ) -> object:
        """Give the first operand that decides, and evaluate no further."""
        value: object = MISSING
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _operand(self, operand: Operand, dot: object) -> object:
        match operand:
            case Literal(value):
                return value
            case Dot():
                return dot
            case Variable(name):
                return self._variable(name)
            case Field(inner, name):
                return _member(self._operand(inner, dot), name)
            case Pipeline():
                return self._pipeline(operand, dot)
            case Function():
                return self._command((operand,), dot, ())

    def _variable(self, name: str) -> object:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise malformed(f"undefined variable ${name}")

    def _assign(self, name: str, value: object) -> None:
        for position in reversed(range(len(self._variables))):
            if self._variables[position][0] == name:
                self._variables[position] = (name, value)
                return
        raise malformed(f"undefined variable ${name}")


def _items(value: object) -> Iterable[tuple[object, object]]:
    """Give the keys and items of what `range` walks; maps in the order of their keys."""
    if isinstance(value, Mapping):
        return sorted(value.items(), key=lambda pair: str(pair[0]))
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return ((number, number) for number in range(min(value, MAX_OUTPUT)))
    if value is None or value is MISSING:
        return ()
    raise failed(f"range can't iterate over {printed(value)[:40]}")


def _member(value: object, name: str) -> object:
    """Look up a field. An object with Go's field names must have it; a map may lack it."""
    if not isinstance(value, Mapping):
        raise failed(f"can't evaluate field {name} in {printed(value)[:40]}")
    if name in value:
        found: object = value[name]
        return found
    if value and all(str(known)[:1].isupper() for known in value):
        guess = nearest(name, [str(known) for known in value])
        hint = f"; did you mean {guess}?" if guess else ""
        raise failed(f"can't evaluate field {name}{hint}")
    return MISSING


def _unknown_function(name: str) -> Exception:
    guess = nearest(name, FUNCTIONS)
    hint = f"; did you mean {guess}?" if guess else ""
    return malformed(f"function {name!r} is not defined{hint}")
