"""The tables that Lark makes of a grammar, and the automaton that follows them.

Importing Lark takes longer than a small build's first step, so the tables are made once and kept.
What they say of a text is what Lark says of it: the same tokens, found by the parser's state and in
the same order of terminals, and the same tree. Of a text that is not of the grammar they say
nothing.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builder.values import NamedTuple

if TYPE_CHECKING:
    from lark import Lark

_END = "$END"
_PLAIN, _INLINED, _REPLACED = range(3)
"""What becomes of a rule's node: it stays, is its children, or is its child if it has just one."""


class Token(NamedTuple):
    """A terminal, and where it begins in the text."""

    kind: str
    text: str
    start: int


class Branch(NamedTuple):
    """A rule with what it consists of; what begins with an underscore is left out or inlined."""

    rule: str
    children: "tuple[Token | Branch, ...]"


class Tables(NamedTuple):
    """An LALR(1) automaton with the contextual lexer's order of terminals."""

    patterns: Mapping[str, str]
    """Regular expressions by terminal."""
    rules: tuple[tuple[str, int, int], ...]
    """Name, length, and what becomes of the node."""
    states: tuple[tuple[Mapping[str, int], tuple[str, ...]], ...]
    """By symbol the next state, or -1 - n to reduce by rule n; terminals in the order of trying."""
    first: int
    last: int


def compiled(grammar: str) -> Tables:
    """Let Lark make the tables of a grammar.

    Its terminals must all have names, none may be ignored, and no rule may have an alias.
    """
    import lark

    parser = larks_own(grammar)
    content, memo = parser.memo_serialize([lark.lexer.TerminalDef, lark.grammar.Rule])
    table = content["parser"]["parser"]
    rules = {number: rule for number, rule in memo.items() if rule["__type__"] == "Rule"}
    numbers = {number: position for position, number in enumerate(rules)}
    names = {state: position for position, state in enumerate(table["states"])}
    ordered = sorted(parser.terminals, key=_precedence)

    def state(row: Mapping[int, tuple[int, Any]]) -> tuple[dict[str, int], tuple[str, ...]]:
        actions = {
            table["tokens"][symbol]: -1 - numbers[target["@"]] if is_reduction else names[target]
            for symbol, (is_reduction, target) in row.items()
        }
        return actions, tuple(terminal.name for terminal in ordered if terminal.name in actions)

    return Tables(
        {terminal.name: terminal.pattern.to_regexp() for terminal in ordered},
        tuple(_rule(rule) for rule in rules.values()),
        tuple(state(row) for row in table["states"].values()),
        names[table["start_states"]["start"]],
        names[table["end_states"]["start"]],
    )


def larks_own(grammar: str) -> "Lark":
    """Let Lark make the parser that the tables are taken from."""
    import lark

    return lark.Lark(grammar, parser="lalr", lexer="contextual", maybe_placeholders=False)


def _precedence(terminal: Any) -> tuple[Any, ...]:
    """Order terminals as Lark's lexer tries them."""
    pattern = terminal.pattern
    return (-terminal.priority, -pattern.max_width, -len(pattern.value), terminal.name)


def _rule(rule: Mapping[str, Any]) -> tuple[str, int, int]:
    name = rule["origin"]["name"]
    fate = _INLINED if name.startswith("_") else _PLAIN
    if rule["options"]["expand1"]:
        fate = _REPLACED
    return name, len(rule["expansion"]), fate


class Automaton:
    """Follows tables."""

    def __init__(self, tables: Tables) -> None:
        """Compile nothing yet: most texts need few of the terminals."""
        self._tables = tables
        self._patterns: dict[str, re.Pattern[str]] = {}

    def parse(self, text: str) -> Branch | None:
        """Give the tree of a text; None if it is not of the grammar."""
        stack = [self._tables.first]
        values: list[list[Token | Branch]] = []
        at = 0
        while True:
            token = self._token(text, at, stack[-1])
            if token is None:
                return None
            while True:
                action = self._tables.states[stack[-1]][0].get(token.kind)
                if action is None:
                    return None
                if action >= 0:
                    break
                values.append(self._reduced(stack, values, -1 - action))
                if token.kind == _END and stack[-1] == self._tables.last:
                    (tree,) = values[-1]
                    assert isinstance(tree, Branch)  # noqa: S101 - narrows the type
                    return tree
            stack.append(action)
            values.append([] if token.kind.startswith("_") else [token])
            at += len(token.text)

    def _token(self, text: str, at: int, state: int) -> Token | None:
        """Find the next token that may stand in a state."""
        if at == len(text):
            return Token(_END, "", at)
        for name in self._tables.states[state][1]:
            pattern = self._patterns.get(name)
            if pattern is None:
                pattern = self._patterns[name] = re.compile(self._tables.patterns[name])
            found = pattern.match(text, at)
            if found is not None:
                return Token(name, found.group(), at)
        return None

    def _reduced(
        self, stack: list[int], values: list[list[Token | Branch]], number: int
    ) -> list[Token | Branch]:
        """Take what a rule consists of from the stacks, and go to the state behind it."""
        name, length, fate = self._tables.rules[number]
        start = len(values) - length
        children = values[start] if length else []  # grows in place: repetitions recur on the left
        for value in values[start + 1 :]:
            children += value
        del values[start:], stack[len(stack) - length :]
        stack.append(self._tables.states[stack[-1]][0][name])
        is_gone = fate == _INLINED or (fate == _REPLACED and len(children) == 1)
        return children if is_gone else [Branch(name, tuple(children))]
