"""Where files come from: streams, archives, repositories, downloads, other stages and images."""

import io
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server

import pytest

from builder.oci.digest import digest_of
from tests.conftest import clean_environment
from tests.end_to_end.site import Site, unpack

pytestmark = pytest.mark.namespaces
COMMITTED_S = 1_600_000_000
MODIFIED_S = 1_500_000_000


class Repository:
    """A git repository that a daemon of git's own serves on the loopback."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url

    def git(self, *words: str) -> str:
        when = f"{COMMITTED_S} +0000"
        names = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
        environment = {
            **clean_environment(),
            **{f"GIT_{name}": "x" for name in names},
            "GIT_AUTHOR_DATE": when,
            "GIT_COMMITTER_DATE": when,
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        done = subprocess.run(
            ["git", *words], cwd=self.directory, env=environment, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def commit(self, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=x")
        return self.git("rev-parse", "HEAD")


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    port = free_port()
    folder = tmp_path / "served"
    made = Repository(folder / "r.git", f"git://127.0.0.1:{port}/r.git")
    made.directory.mkdir(parents=True)
    made.git("init", "--quiet", "--initial-branch=main")
    daemon = subprocess.Popen(
        ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all", "--reuseaddr",
         f"--base-path={folder}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**clean_environment(), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
             "GIT_CONFIG_VALUE_0": "*"},
    )  # fmt: skip
    with daemon:
        wait_for(port)
        yield made
        os.killpg(daemon.pid, 15)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a directory, and give it with its URL."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(SilentHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def wait_for(port: int) -> None:
    import socket

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def archive(files: dict[str, str], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]  # w or w:gz
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def tree_of(site: Site, context: str, *options: str, stdin: bytes = b"") -> dict[str, bytes]:
    path = site.directory / "tree.tar"
    site.run("build", f"--output=type=tar,dest={path}", *options, context, stdin=stdin)
    from tests.end_to_end.site import entries

    return {name: file.content for name, file in entries(path).items()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_on_standard_input_is_a_context(site: Site, mode: str) -> None:
    files = {
        "sub/File": "FROM scratch\nCOPY . /\n",
        "a": "A",
        "b": "B",
        "sub/File.dockerignore": "b\n",
        ".dockerignore": "a\n",
    }

    tree = tree_of(site, "-", "--file=sub/File", stdin=archive(files, mode))

    assert tree["a"] == b"A"
    assert "b" not in tree


def test_a_dockerfile_on_standard_input_has_an_empty_context(site: Site) -> None:
    tree = tree_of(site, "-", stdin=b"FROM busybox\nCOPY . /c\nRUN ls -A /c > /listed\n")

    assert tree["listed"] == b""


def test_a_dockerfile_on_standard_input_goes_with_a_directory(site: Site) -> None:
    site.write("a", "A")

    tree = tree_of(site, str(site.context), "--file=-", stdin=b"FROM scratch\nCOPY a /\n")

    assert tree == {"a": b"A"}


def test_a_link_in_an_archive_leads_to_no_dockerfile_of_the_host(site: Site) -> None:
    secret = site.directory / "secret"
    secret.write_text("FROM scratch\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(entry)

    done = site.run("build", "-", stdin=packed.getvalue(), status=1)

    assert b"failed to read dockerfile: open Dockerfile: no such file" in done.stderr


def test_an_archive_at_a_url_is_a_context(site: Site, web: tuple[Path, str]) -> None:
    folder, url = web
    packed = archive({"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "A"}, "w:gz")
    (folder / "c.tgz").write_bytes(packed)

    tree = tree_of(site, f"{url}/c.tgz")

    assert tree == {"a": b"A"}


def test_a_repository_is_a_context_at_a_ref_in_a_directory(
    site: Site, repository: Repository
) -> None:
    repository.commit({"sub/Dockerfile": "FROM scratch\nCOPY . /\n", "sub/a": "one"})
    repository.git("tag", "v1")
    first = repository.git("rev-parse", "HEAD")
    repository.commit({"sub/a": "two"})

    assert tree_of(site, f"{repository.url}#v1:sub")["a"] == b"one"
    assert tree_of(site, f"{repository.url}#main:sub")["a"] == b"two"
    assert tree_of(site, f"{repository.url}?ref=refs/tags/v1&subdir=sub")["a"] == b"one"
    assert tree_of(site, f"{repository.url}?tag=v1&checksum={first}&subdir=sub")["a"] == b"one"
    wrong = f"{repository.url}?branch=main&checksum={first}&subdir=sub"
    assert b"expected checksum to match" in site.run("build", wrong, status=1).stderr


def test_a_repository_comes_without_its_history_unless_that_is_asked_for(
    site: Site, repository: Repository
) -> None:
    repository.commit({"Dockerfile": "FROM scratch\nCOPY . /\n"})

    assert ".git/HEAD" not in tree_of(site, repository.url)
    kept = tree_of(site, repository.url, "--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
    assert ".git/HEAD" in kept


def test_the_epoch_can_be_that_of_a_repository(site: Site, repository: Repository) -> None:
    repository.commit({"Dockerfile": "FROM scratch\nCOPY . /\n"})

    site.run("build", "--tag=app", "--build-arg=SOURCE_DATE_EPOCH=context", repository.url)

    assert site.inspect("app")["Created"].startswith("2020-09-13T12:26:40")


def test_add_takes_a_repository(site: Site, repository: Repository) -> None:
    commit = repository.commit({"d/a": "A"})
    repository.git("tag", "v1")
    url = repository.url

    tree = site.tree(f"""\
FROM scratch
ADD {url}#v1:d /plain/
ADD --keep-git-dir=true {url}?tag=v1 /kept/
ADD --checksum={commit} {url} /pinned/
ADD {url}?mtime=commit /dated/
""")

    assert tree["plain/a"].content == b"A"
    assert "plain/.git" not in tree
    assert tree["dated/d/a"].entry.mtime == COMMITTED_S
    assert tree["plain/a"].entry.mtime > COMMITTED_S
    assert "kept/.git/HEAD" in tree
    assert tree["pinned/d/a"].content == b"A"
    short = f"FROM scratch\nADD --checksum={'0' * 40} {url} /\n"
    assert "expected checksum to match" in site.build(short, status=1).stderr


def test_a_directory_of_a_repository_cannot_be_outside_of_it(
    site: Site, repository: Repository
) -> None:
    (site.directory / "outside").mkdir()
    (site.directory / "outside/secret").write_text("secret")
    (repository.directory / "out").symlink_to(site.directory / "outside")
    repository.commit({"a": "A"})

    built = site.build(f"FROM scratch\nADD {repository.url}#main:out /\n", status=1)
    tree = site.tree(f"FROM scratch\nADD {repository.url}#main:../../.. /\n")
    done = site.run("build", f"{repository.url}#main:out", status=1)

    assert "Dockerfile:2\n" in built.stderr
    assert tree["a"].content == b"A"
    assert b"has no directory 'out'" in done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "ssh://-oProxyCommand=touch$IFS$9PWNED/x.git",
        "git://127.0.0.1:1/--upload-pack=touch.git#--upload-pack=touch PWNED",
        "git@-oProxyCommand=x:r.git",
    ],
)
def test_a_hostile_source_runs_nothing(site: Site, source: str) -> None:
    site.build(f'FROM scratch\nADD ["{source}", "/"]\n', status=1)
    site.run("build", source, status=1)

    assert not list(site.directory.rglob("PWNED"))


def test_a_submodule_cannot_be_a_repository_of_the_host(
    site: Site, repository: Repository, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other", "")
    other.directory.mkdir()
    other.git("init", "--quiet", "--initial-branch=main")
    other.commit({"secret": "s"})
    allowed = ("-c", "protocol.file.allow=always")
    repository.git(*allowed, "submodule", "--quiet", "add", str(other.directory), "sub")
    repository.commit({"a": "A"})

    built = site.build(f"FROM scratch\nADD {repository.url} /\n", status=1)

    assert "'file' not allowed" in built.stderr


def test_a_download_is_a_private_file_with_the_time_of_the_server(
    site: Site, web: tuple[Path, str]
) -> None:
    folder, url = web
    (folder / "f").write_text("text")
    os.utime(folder / "f", (MODIFIED_S, MODIFIED_S))
    digest = digest_of(b"text")

    tree = site.tree(f"FROM scratch\nADD --checksum={digest} {url}/f?x=1 /d/\n")

    assert tree["d/f"].content == b"text"
    assert (tree["d/f"].entry.mode, tree["d/f"].entry.mtime) == (0o600, MODIFIED_S)
    wrong = f"FROM scratch\nADD --checksum={digest_of(b'other')} {url}/f /\n"
    assert f"digest mismatch {digest_of(b'other')}: {digest}" in site.build(wrong, status=1).stderr
    missing = f"FROM scratch\nADD {url}/none /\n"
    assert "invalid response status 404" in site.build(missing, status=1).stderr


def test_a_download_is_unpacked_only_if_told_so(site: Site, web: tuple[Path, str]) -> None:
    folder, url = web
    (folder / "t.tgz").write_bytes(archive({"a": "A"}, "w:gz"))

    tree = site.tree(f"FROM scratch\nADD {url}/t.tgz /p/\nADD --unpack=true {url}/t.tgz /u/\n")

    assert {"p/t.tgz", "u/a"} <= tree.keys()


def test_named_contexts_are_directories_archives_downloads_repositories_images_and_stages(
    site: Site, web: tuple[Path, str], repository: Repository
) -> None:
    folder, url = web
    (folder / "t.tar").write_bytes(archive({"a": "web"}))
    (site.directory / "t.tar").write_bytes(archive({"a": "archive"}))
    repository.commit({"a": "git"})
    named = site.directory / "named"
    named.mkdir()
    for name, text in (("a", "directory"), ("hidden", "x"), (".dockerignore", "hidden\n")):
        (named / name).write_text(text)
    layout = site.directory / "layout"
    site.run("save", "--output", str(site.directory / "saved.tar"), "busybox")
    with tarfile.open(site.directory / "saved.tar") as saved:
        unpack(saved, layout)
    contexts = {
        "one": str(named), "two": str(site.directory / "t.tar"), "three": f"{url}/t.tar",
        "four": repository.url, "five": "docker-image://busybox", "six": f"oci-layout://{layout}",
        "seven": "target:made", "alpine": "docker-image://busybox",
    }  # fmt: skip

    tree = site.tree(
        """\
FROM busybox AS made
RUN echo made > /a
FROM alpine
COPY --from=one . /one/
COPY --from=two . /two/
COPY --from=three . /three/
COPY --from=four . /four/
COPY --from=five /bin/busybox /five/
COPY --from=six /bin/busybox /six/
COPY --from=seven /a /seven/
""",
        *(f"--build-context={name}={place}" for name, place in contexts.items()),
    )

    contents = {name: tree[f"{name}/a"].content for name in ("one", "two", "three", "four")}
    assert contents == {"one": b"directory", "two": b"archive", "three": b"web", "four": b"git"}
    assert "one/hidden" not in tree
    assert {"five/busybox", "six/busybox"} <= tree.keys()
    assert tree["seven/a"].content == b"made\n"
