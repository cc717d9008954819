"""The list of modules in builder/ARCHITECTURE.md, made of the modules' own first lines."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "builder"
PAGE = PACKAGE / "ARCHITECTURE.md"
BEGIN, END = "<!-- modules -->\n", "<!-- end of modules -->\n"


def listed() -> str:
    """Give the page with the list as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{_modules()}\n{END}{after}"


def _modules() -> str:
    lines: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (str(path.parent), path.name)):
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[
            0
        ]
        if path.name == "__init__.py":
            folder = path.parent.relative_to(PACKAGE.parent)
            lines += ["", f"**{folder}/** {first}", ""] if lines else [f"**{folder}/** {first}", ""]
        else:
            lines.append(f"- `{path.stem}` {first}")
    return "\n".join(lines) + "\n"
