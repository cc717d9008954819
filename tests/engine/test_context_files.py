"""What the files of a context lead to: ignore lines that hide just what nothing reads."""

from hypothesis import given
from hypothesis import strategies as st

from builder.engine.context_files import ContextFile, suggestions
from builder.ignore import IgnoreMatcher, parse_ignore_file

NAMES = st.text("ab*?[]\\#! ", min_size=1, max_size=3).filter(lambda n: n.strip() == n)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(PATHS, st.booleans(), max_size=12))
def test_the_lines_hide_what_nothing_reads_and_nothing_else(read: dict[str, bool]) -> None:
    files = {p for p in read if not any(other.startswith(f"{p}/") for other in read)}
    listed = [ContextFile(p, 1, readers=("COPY",) if read[p] else ()) for p in sorted(files)]

    lines = "\n".join(one.line for one in suggestions(listed))

    matcher = IgnoreMatcher(parse_ignore_file(lines))
    assert {p for p in files if matcher.is_ignored(p)} == {p for p in files if not read[p]}


def test_a_directory_of_which_nothing_is_read_is_one_line() -> None:
    files = [
        ContextFile("docs/a", 5),
        ContextFile("docs/b/c", 7),
        ContextFile("src/x", 1, readers=("COPY src",)),
        ContextFile("src/y", 3),
    ]

    assert [(s.line, s.files, s.size_bytes) for s in suggestions(files)] == [
        ("docs", 2, 12),
        ("src/y", 1, 3),
    ]
