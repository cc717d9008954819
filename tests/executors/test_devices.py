import json
import sys
from pathlib import Path

import pytest

from builder.errors import Denied, InvalidImage, NotFound
from builder.executors.devices import Edits, edits
from builder.sandbox.spec import Bind, Device

DOCUMENT = {
    "cdiVersion": "0.8.0",
    "kind": "vendor.example/toy",
    "containerEdits": {"env": ["ALL=1"]},
    "devices": [
        {
            "name": "a",
            "containerEdits": {
                "env": ["A=1"],
                "deviceNodes": [{"path": "/dev/toy", "hostPath": "/dev/null"}],
                "mounts": [
                    {"hostPath": "/h", "containerPath": "/c", "options": ["ro", "nosuid"]},
                ],
            },
        },
        {"name": "b", "containerEdits": {"deviceNodes": [{"path": "/dev/b"}]}},
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "toy.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "other.yaml").write_text("kind: x")
    (tmp_path / "notes.txt").write_text("no document")
    return str(tmp_path)


def test_a_device_brings_what_its_document_and_it_say(folder: str) -> None:
    found = edits(["vendor.example/toy=a"], [folder, "/nowhere"])

    assert found == Edits(
        (Device("/dev/null", "/dev/toy"),),
        ("ALL=1", "A=1"),
        (Bind("/c", "/h", is_read_only=True),),
    )


def test_a_kind_alone_means_its_first_device(folder: str) -> None:
    assert edits(["vendor.example/toy"], [folder]) == edits(["vendor.example/toy=a"], [folder])


def test_a_device_that_nobody_knows_is_missing_only_if_it_is_required(folder: str) -> None:
    assert edits(["vendor.example/toy=z"], [folder]) == Edits()

    with pytest.raises(NotFound, match=r"vendor\.example/toy=z is not registered"):
        edits(["vendor.example/toy=z,required"], [folder])


def test_hooks_are_refused(tmp_path: Path) -> None:
    device = {"name": "a", "containerEdits": {"hooks": [{"hookName": "x", "path": "/bin/sh"}]}}
    document = {"kind": "v/c", "devices": [device]}
    (tmp_path / "x.json").write_text(json.dumps(document))

    with pytest.raises(Denied, match="hooks"):
        edits(["v/c=a"], [str(tmp_path)])


def test_a_broken_document_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"kind": 1}')

    with pytest.raises(InvalidImage):
        edits(["v/c=a"], [str(tmp_path)])


YAML = """\
cdiVersion: 0.5.0
kind: vendor.example/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/gpu0
containerEdits:
  env: [GPU=void]
"""


def test_documents_in_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "gpu.yaml").write_text(YAML)

    found = edits(["vendor.example/gpu=0"], [str(tmp_path)])

    assert found == Edits((Device("/dev/gpu0", "/dev/gpu0"),), ("GPU=void",))


@pytest.mark.parametrize("text", ["a: [", "- kind", "when: 2020-01-01"])
def test_a_broken_document_in_yaml_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "gpu.yml").write_text(text)

    with pytest.raises(InvalidImage, match=r"the device document gpu\.yml"):
        edits(["v/c=a"], [str(tmp_path)])


def test_without_a_yaml_reader_only_an_unknown_device_fails(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)

    assert edits(["vendor.example/toy=b"], [folder]).env == ("ALL=1",)
    with pytest.raises(NotFound, match=r"other\.yaml, which cannot be read without PyYAML"):
        edits(["vendor.example/gpu=0"], [folder])
