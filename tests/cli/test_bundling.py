"""An installation that writes its bundle when a build has been answered, and uses it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lark
import pytest

from builder.cli.bundling import ROOTS

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
LIBRARIES = Path(lark.__file__).parents[1]
DESCRIBE = f"""
import sys
sys.path.append(sys.argv[1])
from builder.cli import bundle, loading
loading.install()
bundle.install() if sys.argv[2] == "bundle" else None
first = len(sys.modules)
for root in {ROOTS!r}:
    __import__(root)
from importlib.machinery import SourceFileLoader
found = {{}}
for name, module in sys.modules.items():
    spec = getattr(module, "__spec__", None)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        continue
    parent, _, stem = name.rpartition(".")
    found[name] = [
        module.__name__, module.__file__, module.__cached__, module.__package__,
        list(getattr(module, "__path__", ())), module.__doc__, sorted(vars(module)),
        module.__loader__ is spec.loader, spec.loader.name, spec.loader.path,
        spec.name, spec.origin, spec.parent, spec.has_location, spec.cached,
        list(spec.submodule_search_locations or ()), getattr(spec, "_initializing", False),
        not parent or getattr(sys.modules[parent], stem) is module,
    ]
import json
finders = [type(finder).__name__ for finder in sys.meta_path]
print(json.dumps([found, finders.count("Bundle"), bundle.is_missed()]))
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay an installation out as pip does."""
    prefix = tmp_path_factory.mktemp("prefix")
    packages = prefix / "lib" / VERSION / "site-packages"
    packages.mkdir(parents=True)
    leave = shutil.ignore_patterns("*.bundle")
    shutil.copytree(REPOSITORY / "builder", packages / "builder", ignore=leave)
    for library in LIBRARIES.iterdir():
        if not library.name.startswith(("builder", "__")) and library.suffix != ".pth":
            (packages / library.name).symlink_to(library)
    (prefix / "bin").mkdir()
    shutil.copy(REPOSITORY / "tools/launcher", prefix / "bin/builder")
    (prefix / "bin/python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    return prefix


def packages_of(prefix: Path) -> Path:
    return prefix / "lib" / VERSION / "site-packages"


def bundles_of(prefix: Path) -> list[str]:
    return sorted(path.name for path in packages_of(prefix).glob("builder/__pycache__/*.bundle*"))


def described(prefix: Path, way: str) -> Any:
    program = [str(prefix / "bin/python3"), "-X", "utf8", "-ISB", "-c", DESCRIBE]
    return json.loads(succeeded([*program, str(packages_of(prefix)), way]))


def succeeded(words: list[str], environ: dict[str, str] | None = None) -> bytes:
    ended = subprocess.run(words, check=False, capture_output=True, env=environ)
    assert (ended.returncode, ended.stderr.decode()) == (0, "")
    return ended.stdout


@pytest.mark.namespaces
def test_a_build_leaves_a_bundle_and_the_next_one_uses_it(prefix: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    words = [str(prefix / "bin/builder"), "build", "--quiet", str(context)]
    environ = {**os.environ, "BUILDER_ROOT": str(tmp_path / "state"), "BUILDER_GC": "off"}
    tag = sys.implementation.cache_tag

    first = succeeded(words, environ)
    deadline = time.monotonic() + 60
    while bundles_of(prefix) != [f"build.{tag}.bundle"]:
        assert time.monotonic() < deadline, bundles_of(prefix)
        time.sleep(0.02)
    ordinary, _number, _is_missed = described(prefix, "ordinary")
    bundled, number, is_missed = described(prefix, "bundle")

    assert number == 1
    assert not is_missed
    assert bundled.keys() == ordinary.keys()
    for name, attributes in ordinary.items():
        assert bundled[name] == attributes, name
    assert len([name for name in ordinary if name.startswith("builder.")]) > 200

    (context / "more").touch()
    second = succeeded(words, environ)
    assert first.startswith(b"sha256:")
    assert second.startswith(b"sha256:")
    assert first != second
