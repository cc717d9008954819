"""Where a build's result goes, and what can be done with images afterwards."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.site import Site, entries

pytestmark = pytest.mark.namespaces

DOCKERFILE = 'FROM busybox\nRUN echo content > /file && chown 7:8 /file\nCMD ["cat", "/file"]\n'


def test_an_oci_archive_is_written_and_loaded(site: Site) -> None:
    path = site.directory / "app.tar"
    site.build(DOCKERFILE, f"--output=type=oci,dest={path}", "--tag=app:1")
    names = set(entries(path))
    assert {"oci-layout", "index.json"} <= names
    assert site.text("images", "--quiet", "app:1") == ""

    site.run("load", "--input", str(path))

    assert site.container("app:1").stdout == b"content\n"


def test_a_docker_archive_is_written_and_loaded(site: Site) -> None:
    path = site.directory / "app.tar"
    site.build(DOCKERFILE, f"--output=type=docker,dest={path}", "--tag=app:1")
    manifest = json.loads(entries(path)["manifest.json"].content)
    assert manifest[0]["RepoTags"] in (["app:1"], ["docker.io/library/app:1"])

    site.run("load", stdin=path.read_bytes())

    assert site.container("app:1").stdout == b"content\n"


def test_a_tar_keeps_owners(site: Site) -> None:
    site.write("file", "x")

    tree = site.tree("FROM scratch\nCOPY --chown=7:8 file /\n")

    assert (tree["file"].entry.uid, tree["file"].entry.gid) == (7, 8)


def test_a_directory_gets_the_files(site: Site) -> None:
    out = site.directory / "out"

    site.build("FROM scratch\nCOPY <<f /d/f\nhello\nf\n", "--output", str(out))

    assert (out / "d/f").read_text() == "hello\n"


def test_an_archive_can_go_to_standard_output(site: Site) -> None:
    done = site.build("FROM scratch\nCOPY <<f /f\nhello\nf\n", "--output=type=tar,dest=-")

    assert "hello" in done.stdout


def test_quiet_prints_the_id_that_iidfile_holds(site: Site) -> None:
    path = site.directory / "id"

    built = site.build(DOCKERFILE, "--quiet", f"--iidfile={path}", "--tag=app")

    image_id = built.stdout.strip()
    assert image_id.startswith("sha256:")
    assert built.stderr == "" or built.stderr.startswith("warning: ")
    assert path.read_text() == image_id == site.inspect("app")["Id"]


def test_two_builds_of_the_same_input_are_the_same_bytes(site: Site) -> None:
    """Times are bounded by SOURCE_DATE_EPOCH; names and order never vary."""
    first, second = site.directory / "1.tar", site.directory / "2.tar"
    epoch = "--build-arg=SOURCE_DATE_EPOCH=1700000000"

    for path in (first, second):
        out = f"--output=type=oci,dest={path},rewrite-timestamp=true"
        site.build(DOCKERFILE, epoch, out, "--no-cache")

    assert first.read_bytes() == second.read_bytes()


def test_an_image_is_named_saved_removed_and_loaded(site: Site) -> None:
    site.build(DOCKERFILE, "--tag=app")
    site.run("tag", "app", "example.org/team/app:v2")
    path = site.directory / "saved.tar"
    site.run("save", "--output", str(path), "example.org/team/app:v2")
    site.run("rmi", "app", "example.org/team/app:v2")
    assert "app" not in site.text("images")

    site.run("load", "--input", str(path))

    assert site.container("example.org/team/app:v2").stdout == b"content\n"


def test_history_and_inspect_tell_what_was_done(site: Site) -> None:
    site.build(DOCKERFILE, "--tag=app", "--label=colour=red")

    history = site.text("history", "--no-trunc", "app")
    image = site.inspect("app")

    assert "echo content > /file" in history
    assert 'CMD ["cat"' in history
    assert image["Config"]["Labels"] == {"colour": "red"}
    assert len(image["RootFS"]["Layers"]) == 2
    assert site.text("image", "inspect", "--format={{.Config.Cmd}}", "app") == "[cat /file]"


def test_prune_removes_what_nothing_names(site: Site) -> None:
    site.build(DOCKERFILE, "--tag=app")
    old = site.inspect("app")["Id"]
    site.build(DOCKERFILE.replace("content", "other"), "--tag=app")

    site.run("image", "prune", "--force")
    site.run("builder", "prune", "--force", "--all")

    assert old.removeprefix("sha256:")[:12] not in site.text("images", "--all")
    assert site.container("app").stdout == b"other\n"
    assert "TYPE" in site.text("system", "df")


def test_a_layout_directory_is_loaded(site: Site) -> None:
    path = site.directory / "app.tar"
    site.build(DOCKERFILE, f"--output=type=oci,dest={path}")
    layout = site.directory / "layout"
    for name, file in entries(path).items():
        (layout / name).parent.mkdir(parents=True, exist_ok=True)
        if file.entry.isreg():
            (layout / name).write_bytes(file.content)

    site.run("load", "--input", str(layout), "--tag", "from-layout")

    assert site.container("from-layout").stdout == b"content\n"


def test_several_outputs_at_once(site: Site, tmp_path: Path) -> None:
    site.build(
        DOCKERFILE,
        "--tag=app",
        f"--output=type=oci,dest={tmp_path / 'oci.tar'}",
        f"--output=type=docker,dest={tmp_path / 'docker.tar'}",
        "--load",
    )

    assert "oci-layout" in entries(tmp_path / "oci.tar")
    assert "manifest.json" in entries(tmp_path / "docker.tar")
    assert site.container("app").stdout == b"content\n"
