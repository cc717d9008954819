"""Bundles of modules: what comes out of one is what importlib makes of the same sources."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.cli import bundle, bundling

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = {
    "__init__": "",
    "low": "A = 1\n",
    "middle": "from sample.low import A\nB = A + 1\n",
    "high": "from sample import middle\nC = middle.B + 1\n",
    "other": "D = 4\n",
    "replaced": "import sys\nclass Object: E = 5\nsys.modules[__name__] = Object\n",
    "user": "from sample.replaced import E\nimport sample.replaced\nF = sample.replaced.E + E\n",
}
BEGIN = f"""\
import sys
sys.path[:0] = [sys.argv[1], {str(REPOSITORY)!r}]
from builder.cli import bundle, bundling
"""
ROOTS = ("sample.high", "sample.user", "sample.other")
WRITE = BEGIN + f"bundling.write(sys.argv[1], {ROOTS})"
READ = BEGIN + "\nsome = bundle.read(sys.argv[1])\nsys.meta_path.insert(0, some)\n"
"""The interpreters of these tests have one thread, as a command has that starts."""


def run(packages: Path, code: str) -> str:
    """Run code in an interpreter that has loaded nothing; what it printed."""
    words = [sys.executable, "-X", "utf8", "-ISB", "-c", code, str(packages)]
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Make a package, and a bundle of all its modules."""
    (tmp_path / "sample").mkdir()
    for name, text in SAMPLE.items():
        (tmp_path / f"sample/{name}.py").write_text(text)
    (tmp_path / "builder/__pycache__").mkdir(parents=True)
    run(tmp_path, WRITE)
    return tmp_path


def file_of(packages: Path) -> Path:
    return Path(bundle.path_of(str(packages)))


def put(packages: Path, name: str, text: str) -> None:
    """Change a source in a way that its time and size do not show."""
    path = packages / f"sample/{name}.py"
    status = path.stat()
    assert len(text) == status.st_size
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_modules_come_from_the_bundle_and_not_from_their_files(packages: Path) -> None:
    put(packages, "low", "A = 5\n")

    assert run(packages, READ + "from sample.high import C; print(C)") == "3"


def test_what_a_module_leads_to_is_loaded_and_no_more(packages: Path) -> None:
    code = READ + "import sample.{}; print(sorted(n for n in sys.modules if n[:6] == 'sample'))"

    assert json.loads(run(packages, code.format("middle")).replace("'", '"')) == [
        "sample",
        "sample.low",
        "sample.middle",
    ]


def test_a_module_whose_source_has_changed_is_taken_from_there(packages: Path) -> None:
    (packages / "sample/low.py").write_text("A = 10\n")

    said = run(packages, READ + "from sample.high import C; print(C, some.is_stale)")

    assert said == "12 True"
    assert run(packages, READ + "import sample.other; print(some.is_stale)") == "False"


def test_a_module_may_put_something_else_in_its_place(packages: Path) -> None:
    assert run(packages, READ + "from sample.user import F; print(F)") == "10"


def test_a_module_that_is_gone_is_gone(packages: Path) -> None:
    (packages / "sample/low.py").unlink()

    code = "\ntry: import sample.high\nexcept ModuleNotFoundError as error: print(error.name)"

    assert run(packages, READ + code) == "sample.low"


def test_a_body_that_fails_is_an_error_of_the_import(tmp_path: Path) -> None:
    (tmp_path / "flag").touch()
    (tmp_path / "sample").mkdir()
    for name, text in SAMPLE.items():
        (tmp_path / f"sample/{name}.py").write_text(text)
    (tmp_path / "sample/low.py").write_text(
        f"import os\nos.stat({str(tmp_path / 'flag')!r})\nA = 1"
    )
    (tmp_path / "builder/__pycache__").mkdir(parents=True)
    run(tmp_path, WRITE)
    (tmp_path / "flag").unlink()
    attempt = "\ntry: import sample.high\nexcept FileNotFoundError: print('failed', end=' ')\n"
    loaded = "print(*sorted(n for n in sys.modules if n[:6] == 'sample'))"

    assert run(tmp_path, READ + attempt * 2 + loaded) == "failed failed sample"


def test_beside_other_threads_modules_are_loaded_one_by_one(packages: Path) -> None:
    threads = """
import _thread
lock = _thread.allocate_lock()
lock.acquire()
_thread.start_new_thread(lock.acquire, ())
while not _thread._count(): pass
"""

    assert run(packages, READ + threads + "from sample.high import C; print(C)") == "3"


@pytest.mark.parametrize("kept", [0, 3, 11, 12, 60, 500, -1])
def test_a_bundle_that_was_cut_is_none(packages: Path, kept: int) -> None:
    path = file_of(packages)
    path.write_bytes(path.read_bytes()[:kept])

    assert bundle.read(str(packages)) is None


def test_a_bundle_with_other_content_is_none(packages: Path) -> None:
    path = file_of(packages)
    whole = path.read_bytes()
    path.write_bytes(whole)
    assert bundle.read(str(packages)) is not None

    for content in (bytes(len(whole)), whole[:40] + b"?" + whole[41:], whole + b"?"):
        path.write_bytes(content)
        assert bundle.read(str(packages)) is None


def test_code_that_is_damaged_is_left_to_importlib(packages: Path) -> None:
    path = file_of(packages)
    whole = path.read_bytes()
    begin = len(whole) - 600  # within the code of the last modules
    path.write_bytes(whole[:begin] + bytes(600))

    said = run(packages, READ + "import sample.other as other; print(other.D, some.is_stale)")

    assert said == "4 True"


def test_a_bundle_of_another_interpreter_is_none(packages: Path) -> None:
    path = file_of(packages)
    other = path.read_bytes().replace(sys.version.encode(), sys.version.swapcase().encode())
    path.write_bytes(other)

    assert bundle.read(str(packages)) is None


def test_a_link_is_not_followed(packages: Path) -> None:
    path = file_of(packages)
    path.rename(packages / "elsewhere")
    path.symlink_to(packages / "elsewhere")

    assert bundle.read(str(packages)) is None


@pytest.mark.root
def test_a_bundle_that_somebody_else_wrote_is_none(packages: Path) -> None:
    os.chown(file_of(packages), 12345, 12345)

    assert bundle.read(str(packages)) is None


def test_an_interpreter_with_other_folders_uses_none() -> None:
    code = f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}]; from builder.cli import bundle; "
    code += "print(bundle.is_used(), bundle.is_missed())"
    for options, said in (("-I", "False False"), ("-S", "False False"), ("-IOS", "False False")):
        words = [sys.executable, options, "-c", code]
        assert (
            subprocess.run(words, check=True, capture_output=True).stdout.decode().strip() == said
        )
    assert run(REPOSITORY, code) == "True False"  # it was told to write nothing


def test_it_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    bundling.replace(str(path), b"new")

    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(FileNotFoundError):
        bundling.replace(str(tmp_path / "absent/file"), b"new")
