"""The shape of the program: who imports whom, what loads when, how long things are.

Everything is read from the source; nothing is imported.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.modules import PAGE, listed

PACKAGE = Path(__file__).resolve().parent.parent / "builder"

# Everybody may import these; they import only each other.
FIRST_ROW = {
    "source",
    "text",
    "errors",
    "events",
    "ignore",
    "pathpattern",
    "jsonvalues",
    "values",
    "__init__",
}

# package: what else it may import. The order is that of the layers, lowest first.
MAY_IMPORT: dict[str, set[str]] = {
    "concurrency": set(),
    "oci": set(),
    "graph": {"oci"},
    "dockerfile": {"graph", "oci"},
    "solver": {"graph", "oci", "concurrency"},
    "kernel": {"concurrency"},
    "layers": {"oci", "kernel", "graph", "concurrency"},
    "store": {"oci", "layers", "kernel", "concurrency"},
    "sandbox": {"kernel", "concurrency"},
    "registry": {"oci", "store", "concurrency"},
    "networks": {"store", "kernel", "concurrency"},
    "volumes": {"store", "kernel", "concurrency"},
}
_LOWER = set(MAY_IMPORT)
MAY_IMPORT["executors"] = MAY_IMPORT["exporters"] = MAY_IMPORT["containers"] = _LOWER
MAY_IMPORT["wire"] = {"oci", "exporters"}
MAY_IMPORT["engine"] = {*_LOWER, "executors", "exporters", "containers", "wire"}
MAY_IMPORT["progress"] = set()
# `cli` takes the values that requests are made of from where they live.
MAY_IMPORT["cli"] = {"engine", "progress", "concurrency", "oci", "exporters", "containers", "wire"}
MAY_IMPORT["__main__"] = {"cli"}

# Packages to which the outside arrives as arguments.
PURE = {"oci", "graph", "dockerfile", "source", "text", "events", "ignore", "pathpattern"}
PURE_EXCEPT = {"dockerfile.syntax": {"os"}}  # reads the grammar, keeps the parser made of it
OUTSIDE = {"os", "io", "socket", "subprocess", "time", "random", "asyncio", "sqlite3", "ctypes"}

# Costs more than a millisecond at start; loaded where it is first needed.
HEAVY = {
    "argparse", "asyncio", "click", "concurrent", "ctypes", "dataclasses", "email", "http",
    "inspect", "lark", "logging", "pathlib", "pyroute2", "pyzstd", "shutil", "sqlite3", "ssl",
    "subprocess", "tarfile", "tempfile", "tqdm", "urllib", "urllib3", "yaml", "zipfile",
}  # fmt: skip
# The module is itself loaded only when its library is needed.
HEAVY_ALLOWED = {"cli.clicked": {"click"}}

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_STATEMENTS_OF_A_LONG_FUNCTION = 12
"""A table written as one expression, or one match, may have more lines."""


class Module(NamedTuple):
    """A module of the program: its dotted name below the package, its text, its tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


class Import(NamedTuple):
    """One import: by whom, of what, whether inside a function, and where."""

    module: Module
    target: str
    is_lazy: bool
    is_for_types: bool
    line: int

    def __str__(self) -> str:
        return f"builder/{self.module.name.replace('.', '/')}.py:{self.line}: {self.target}"


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        found.append(Module(name, text, ast.parse(text, str(path))))
    return tuple(found)


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for module in modules() for found in _imports_of(module))


def _imports_of(module: Module) -> Iterator[Import]:
    pending: list[tuple[ast.AST, bool, bool]] = [(module.tree, False, False)]
    while pending:
        node, is_lazy, is_for_types = pending.pop()
        match node:
            case ast.Import(names):
                for alias in names:
                    yield Import(module, alias.name, is_lazy, is_for_types, node.lineno)
            case ast.ImportFrom(module=str(source), names=names):
                for target in _targets(source, [alias.name for alias in names]):
                    yield Import(module, target, is_lazy, is_for_types, node.lineno)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                is_lazy = True
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                is_for_types = True
            case _:
                pass
        pending += [(child, is_lazy, is_for_types) for child in ast.iter_child_nodes(node)]


def _targets(source: str, names: list[str]) -> Iterator[str]:
    """Name what `from SOURCE import NAMES` loads: submodules where names are modules."""
    known = {f"builder.{module.name}" for module in modules()} | {
        f"builder.{module.name.removesuffix('.__init__')}" for module in modules()
    }
    submodules = [f"{source}.{name}" for name in names if f"{source}.{name}" in known]
    if len(submodules) < len(names) or source not in known:
        yield source
    yield from submodules


def own(target: str) -> str | None:
    """Give the package of ours that a target belongs to; None for others' libraries."""
    parts = target.split(".")
    if parts[0] != "builder":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def test_packages_import_only_what_the_table_allows() -> None:
    wrong = []
    for found in imports():
        target, package = own(found.target), found.module.package
        if target is None or target == package or target in FIRST_ROW:
            continue
        if target not in MAY_IMPORT.get(package, set()):
            wrong.append(str(found))

    assert wrong == []


def test_the_table_itself_has_no_cycle() -> None:
    remaining = dict(MAY_IMPORT)
    while remaining:
        free = [name for name, targets in remaining.items() if not targets & set(remaining)]
        assert free, f"a cycle among {sorted(remaining)}"
        for name in free:
            del remaining[name]


def test_no_modules_import_each_other_at_start() -> None:
    known = {module.name.removesuffix(".__init__") for module in modules()}
    graph: dict[str, set[str]] = {name: set() for name in known}
    for found in imports():
        target = found.target.removeprefix("builder.")
        if target in known and not found.is_lazy and not found.is_for_types:
            graph[found.module.name.removesuffix(".__init__")].add(target)

    while graph:
        free = [name for name, targets in graph.items() if not targets & set(graph) - {name}]
        assert free, f"a cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


def test_pure_packages_do_not_reach_outside() -> None:
    wrong = [
        str(found)
        for found in imports()
        if found.module.package in PURE
        and (library := found.target.partition(".")[0]) in OUTSIDE
        and library not in PURE_EXCEPT.get(found.module.name, set())
    ]

    assert wrong == []


def test_heavy_libraries_are_loaded_late() -> None:
    wrong = [
        str(found)
        for found in imports()
        if not found.is_lazy
        and not found.is_for_types
        and (library := found.target.partition(".")[0]) in HEAVY
        and library not in HEAVY_ALLOWED.get(found.module.name, set())
    ]

    assert wrong == []


def test_modules_are_short() -> None:
    long = {
        module.name: lines
        for module in modules()
        if (lines := module.text.count("\n")) > MAX_MODULE_LINES
    }

    assert long == {}


def test_functions_are_short() -> None:
    long = [
        f"{module.name}:{function.lineno} {function.name}: {lines} lines"
        for module in modules()
        for function in functions(module)
        if (lines := length(function)) > MAX_FUNCTION_LINES
        and statements(function) > MAX_STATEMENTS_OF_A_LONG_FUNCTION
    ]

    assert long == []


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function after its docstring."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    start = (first.end_lineno or 0) if has_docstring else function.lineno
    return (function.end_lineno or 0) - start


def statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1


def test_every_module_begins_with_its_idea() -> None:
    silent = [module.name for module in modules() if not ast.get_docstring(module.tree)]

    assert silent == []


def test_the_page_lists_every_module() -> None:
    assert PAGE.read_text(encoding="utf-8") == listed(), "run tools/bless modules"


# A path inside an image is resolved by kernel.paths; glued to a directory of ours it would follow
# the image's own links out of it. Constant names below the state directory are fine.
ROOTS = {"root", "rootfs", "merged", "root_path", "root_dir"}
MAY_JOIN = {"store", "kernel"}


def test_paths_of_images_are_not_joined_to_directories() -> None:
    wrong = [
        f"builder/{module.name.replace('.', '/')}.py: {ast.unparse(node)}"
        for module in modules()
        if module.package not in MAY_JOIN
        for node in ast.walk(module.tree)
        if joins_a_root(node)
    ]

    assert wrong == []


def joins_a_root(node: ast.AST) -> bool:
    match node:
        case ast.Call(
            func=ast.Attribute(attr="join", value=ast.Attribute(attr="path")), args=[first, *rest]
        ):
            return is_root(first) and not all(is_constant(part) for part in rest)
        case ast.JoinedStr(
            values=[ast.FormattedValue(value=value), ast.Constant(value=str(text)), *rest]
        ):
            is_path = is_root(value) and text.startswith("/")
            return is_path and not all(is_constant(part) for part in rest)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return is_root(left) and not is_constant(right)
        case _:
            return False


def is_constant(node: ast.AST) -> bool:
    match node:
        case ast.FormattedValue(value=value):
            return is_constant(value)
        case ast.Name(name) | ast.Attribute(attr=name):
            return name.isupper()
        case _:
            return isinstance(node, ast.Constant)


def is_root(node: ast.AST) -> bool:
    match node:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name in ROOTS
        case _:
            return False


@pytest.mark.parametrize(
    ("code", "is_wrong"),
    [
        ("os.path.join(root, name)", True),
        ('f"{self.rootfs}/etc/{name}"', True),
        ('os.path.join(root, "volumes", FILE)', False),
        ("merged / name", True),
        ("os.path.join(directory, name)", False),
        ('f"{root}"', False),
    ],
)
def test_joins_are_recognised(*, code: str, is_wrong: bool) -> None:
    assert joins_a_root(ast.parse(code, mode="eval").body) is is_wrong
