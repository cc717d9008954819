"""The tables that are kept say of every text what Lark itself says."""

from functools import cache
from pathlib import Path
from typing import Any

import lark
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builder.dockerfile.tables import Automaton, Branch, Token, compiled

REPOSITORY = Path(__file__).parent.parent.parent
GRAMMAR = (REPOSITORY / "grammar/dockerfile.lark").read_text()
WORDS = [
    "FROM", "run", "Copy", "ENV", "healthcheck", "ONBUILD", "user", "expose", "cmd", "Nothing",
    " ", "\t", "\n", "\n", "\n", "--from=x", "--", "--a='b c'", '--x="', "a=b", 'a="b c"', "\\",
    "`",
    '["a", "b"]', '["a"', "[]", "NONE", "$x", "\x85", "\u2003", "é", '"', "'",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS)).map("".join)


@cache
def of(grammar: str) -> tuple[Automaton, lark.Lark]:
    own = Automaton(compiled(grammar))
    return own, lark.Lark(grammar, parser="lalr", lexer="contextual", maybe_placeholders=False)


def plain(tree: Any) -> Any:
    """Turn Lark's tree into ours."""
    if isinstance(tree, lark.Token):
        return Token(tree.type, str(tree), tree.start_pos or 0)
    return Branch(str(tree.data), tuple(plain(child) for child in tree.children))


def said_by_lark(parser: lark.Lark, text: str) -> Branch | None:
    try:
        found: Branch = plain(parser.parse(text))
    except lark.UnexpectedInput:
        return None
    return found


@given(TEXTS, st.booleans())
@settings(max_examples=300)
@example("FROM a\nRUN x\n", False)  # noqa: FBT003 - hypothesis gives it by place
def test_a_text_has_the_tree_that_lark_gives_it(text: str, is_backtick: bool) -> None:  # noqa: FBT001 - the same
    own, parser = of(GRAMMAR.replace("\\\\", "`") if is_backtick else GRAMMAR)

    assert own.parse(text) == said_by_lark(parser, text)


def test_dockerfiles_have_the_trees_that_lark_gives_them() -> None:
    own, parser = of(GRAMMAR)
    files = list(REPOSITORY.glob("fixtures/dockerfiles/*/Dockerfile"))

    for file in files:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        whole = "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())
        assert own.parse(whole) == said_by_lark(parser, whole), file
    assert len(files) > 100


def test_many_repetitions_cost_no_more_each() -> None:
    own, _ = of(GRAMMAR)

    tree = own.parse("FROM a\n" * 30_000)

    assert tree is not None
    assert len(tree.children) == 30_000
