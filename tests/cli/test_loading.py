import importlib.util
import os
import py_compile
import sys
from pathlib import Path
from types import ModuleType

import pytest

from builder.cli.loading import Finder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Make a package with one module, compiled."""
    directory = tmp_path / "builder"
    directory.mkdir()
    for name, text in (("__init__", "A = 1\n"), ("one", "B = __name__\n")):
        path = directory / f"{name}.py"
        path.write_text(text)
        py_compile.compile(str(path), doraise=True)
    return directory


def loaded(root: Path, name: str) -> ModuleType | None:
    spec = Finder(str(root)).find_spec(name)
    if spec is None:
        return None
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def test_a_module_is_what_importlib_makes_of_it(package: Path) -> None:
    module = loaded(package.parent, "builder.one")

    assert module is not None
    assert module.B == "builder.one"
    assert module.__file__ == str(package / "one.py")
    assert module.__spec__ is not None
    assert module.__spec__.cached == importlib.util.cache_from_source(str(package / "one.py"))


def test_a_package_tells_where_its_modules_are(package: Path) -> None:
    module = loaded(package.parent, "builder")

    assert module is not None
    assert module.A == 1
    assert module.__path__ == [str(package)]


def test_a_stale_or_missing_or_damaged_file_is_left_to_importlib(package: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(package / "one.py")))
    whole = compiled.read_bytes()

    compiled.write_bytes(whole[:20])
    assert loaded(package.parent, "builder.one") is None
    compiled.write_bytes(b"\0" * len(whole))
    assert loaded(package.parent, "builder.one") is None
    compiled.write_bytes(whole)
    os.utime(package / "one.py", (1, 1))
    assert loaded(package.parent, "builder.one") is None
    compiled.unlink()
    assert loaded(package.parent, "builder.one") is None
    assert loaded(package.parent, "builder.two") is None


def test_other_packages_are_none_of_its_business(package: Path) -> None:
    assert Finder(str(package.parent)).find_spec("json") is None
    assert "builder" in sys.modules
