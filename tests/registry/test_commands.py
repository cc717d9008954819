"""The program against real registries: pull, push, build, copy, lists, log in."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from builder.store.store import Store
from tests.engine.archives import layer
from tests.registry.servers import (
    MANIFEST,
    PASSWORD,
    USER,
    Answer,
    Image,
    Registry,
    Seen,
    Spoiler,
    image_of,
    serving,
    spoiling,
)

Program = Callable[..., "subprocess.CompletedProcess[bytes]"]

pytestmark = pytest.mark.namespaces
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture
def program(builder: Program, tmp_path: Path) -> Program:
    """Give the program with configuration files of this test's own."""
    (tmp_path / "none").touch()
    environ = {
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "BUILDER_REGISTRIES": str(tmp_path / "none"),
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "none"),
    }
    return lambda *words, **more: builder(*words, **{**environ, **more})


def well(ended: "subprocess.CompletedProcess[bytes]") -> str:
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode().strip()


def put(host: str, image: Image, name: str) -> None:
    """Put an image into a registry by hand."""
    upstream = Spoiler(host, lambda _seen, _count: None)
    upstream.host = host
    for digest, blob in image.blobs.items():
        begun = upstream.forward(Seen("POST", f"/v2/{name}/blobs/uploads/", {}, b""))
        place = begun.headers["Location"].partition(host)[2]
        ended = upstream.forward(Seen("PUT", f"{place}&digest={digest}", {}, blob))
        assert ended.status == 201
    kind = {"Content-Type": str(json.loads(image.manifest)["mediaType"])}
    assert (
        upstream.forward(Seen("PUT", f"/v2/{name}/manifests/1", kind, image.manifest)).status == 201
    )


@pytest.fixture
def base(plain_registry: Registry) -> str:
    """Give the name of an image in the plain registry."""
    put(plain_registry.host, image_of(layer(file=b"base")), "base/x")
    return f"{plain_registry.host}/base/x:1"


def test_pull_tag_push_and_pull_again(
    program: Program, base: str, plain_registry: Registry, tmp_path: Path
) -> None:
    first = well(program("pull", base))
    other = f"{plain_registry.host}/other/{tmp_path.name.replace('_', '-')}:2"
    well(program("tag", base, other))
    pushed = well(program("push", other))

    again = well(program("pull", other, BUILDER_ROOT=str(tmp_path / "second")))

    assert again.splitlines()[0] == first.splitlines()[0]
    assert first.splitlines()[0].removeprefix("Digest: ") in pushed
    assert "Image is up to date" in well(program("pull", base))
    assert well(program("search-tags", "--format", "{{.Tag}}", other)) == "2"


def context(directory: Path, dockerfile: str) -> str:
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text(dockerfile)
    (directory / "own").write_text("own")
    return str(directory)


def test_a_base_comes_from_its_registry_and_the_result_goes_there(
    program: Program, base: str, plain_registry: Registry, tmp_path: Path
) -> None:
    target = f"{plain_registry.host}/built/{tmp_path.name.replace('_', '-')}:1"
    where = context(
        tmp_path / "context", f"FROM {base} AS a\nFROM {base}\nCOPY --from=a file /\nCOPY own /\n"
    )

    well(program("build", "-q", "-t", target, "--push", where))

    well(program("pull", "-q", target, BUILDER_ROOT=str(tmp_path / "second")))


def test_layers_wait_until_a_step_needs_them(
    program: Program, base: str, plain_registry: Registry, tmp_path: Path
) -> None:
    asked: list[str] = []

    def watch(seen: Seen, _count: int) -> None:
        asked.append(seen.path)

    with spoiling(plain_registry.host, watch) as proxy:
        name = base.replace(plain_registry.host, proxy.host)
        where = context(tmp_path / "context", f"FROM {name}\nLABEL a=b\n")
        well(program("build", "-q", "--output", "type=cacheonly", where))
        metadata = [path for path in asked if "/blobs/" in path]
        well(program("build", "-q", where))
        everything = [path for path in asked if "/blobs/" in path]
        seen = len(asked)
        well(program("build", "-q", where))

        assert len(metadata) == 1  # the config
        assert len(everything) == 2
        assert len(asked) == seen  # known by now: nothing is asked

        well(program("build", "-q", "--pull", where))

        assert len(asked) > seen


def test_a_moved_tag_is_seen_with_pull_only(
    program: Program, plain_registry: Registry, tmp_path: Path
) -> None:
    name = f"moved/{tmp_path.name.replace('_', '-')}"
    put(plain_registry.host, image_of(layer(file=b"old")), name)
    where = context(tmp_path / "context", f"FROM {plain_registry.host}/{name}:1\nLABEL a=b\n")
    old = well(program("build", "-q", where))
    put(plain_registry.host, image_of(layer(file=b"new")), name)

    assert well(program("build", "-q", where)) == old
    assert well(program("build", "-q", "--pull", where)) != old


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(404), 13),
        (Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}), 11),
        (Answer(403), 11),
        (Answer(429, {"Retry-After": "999"}), 12),
        (Answer(400), 1),
    ],
)
def test_statuses_tell_what_is_the_matter(
    program: Program, tmp_path: Path, answer: Answer, status: int
) -> None:
    script: Callable[[Seen], Answer] = lambda seen: Answer(200) if seen.path == "/v2/" else answer  # noqa: E731
    with serving(script) as server:
        where = context(tmp_path / "context", f"FROM {server.host}/a/b:1\n")

        assert program("pull", f"{server.host}/a/b:1").returncode == status
        assert program("run", f"{server.host}/a/b:1").returncode == 125
        assert program("build", where).returncode == status


def test_what_is_not_in_a_registry_is_named(program: Program, plain_registry: Registry) -> None:
    name = f"{plain_registry.host}/nowhere/x:1"

    ended = program("pull", name)

    assert ended.returncode == 13
    assert f"error: manifest for {name} not found: ".encode() in ended.stderr


@pytest.mark.parametrize(
    "name",
    ["/a/../../x:1", "//x:1", "/a b:1", "/A/X:1", "/a/x@md5:00", f"{'/a' * 200}:1", "/a/é:1"],
)
def test_a_malformed_name_asks_nobody(program: Program, name: str) -> None:
    with serving(lambda _seen: Answer(200)) as server:
        assert program("pull", f"{server.host}{name}").returncode != 0
        assert server.seen == []


def test_log_in_push_pull_log_out(
    program: Program, base: str, private_registry: Registry, tmp_path: Path
) -> None:
    host = private_registry.host
    name = f"{host}/mine/x:1"
    well(program("pull", "-q", base))
    well(program("tag", base, name))

    refused = program("push", name)
    wrong = program("login", "-u", USER, "--password-stdin", host, stdin=b"wrong")
    right = well(program("login", "-u", USER, "--password-stdin", host, stdin=PASSWORD.encode()))
    pushed = program("push", name)
    well(program("logout", host))
    forgotten = program("pull", name, BUILDER_ROOT=str(tmp_path / "second"))
    once = program("pull", "--creds", f"{USER}:{PASSWORD}", name)

    assert right == "Login Succeeded"
    found = [one.returncode for one in (refused, wrong, pushed, forgotten, once)]
    assert found == [11, 11, 0, 11, 0]
    assert PASSWORD not in (tmp_path / "docker/config.json").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("pull", "-a", "localhost:1/x:1"),
        ("push", "-a", "localhost:1/x:1"),
        ("push", "-a", "x@sha256:" + "0" * 64),
        ("copy", "x", "dir:"),
        ("copy", "x", "docker:/x"),
        ("copy", "x", "oci:"),
        ("copy", "--creds", "a:b", "docker://localhost:1/x", "docker://localhost:2/x"),
        ("copy", "--src-creds", "a", "docker://localhost:1/x", "docker://localhost:2/x"),
    ],
)
def test_words_that_say_two_things_or_nothing_are_refused(
    program: Program, words: tuple[str, ...]
) -> None:
    assert program(*words).returncode == 2


def test_all_tags_of_a_repository(
    program: Program, base: str, plain_registry: Registry, tmp_path: Path
) -> None:
    place = f"{plain_registry.host}/every/{tmp_path.name.replace('_', '-')}"
    well(program("pull", "-q", base))
    for tag in ("one", "two"):
        well(program("tag", base, f"{place}:{tag}"))

    well(program("push", "-q", "--all-tags", place))
    pulled = well(program("pull", "-q", "-a", place, BUILDER_ROOT=str(tmp_path / "second")))
    listed = well(program("search-tags", "--format", "{{.Tag}}", f"docker://{place}"))

    assert sorted(pulled.splitlines()) == [f"{place}:one", f"{place}:two"]
    assert sorted(listed.splitlines()) == ["one", "two"]


def test_a_list_of_platforms(program: Program, base: str, plain_registry: Registry) -> None:
    put(plain_registry.host, image_of(layer(file=b"arm")), "arm/x")
    arm = f"{plain_registry.host}/arm/x:1"
    name = f"{plain_registry.host}/many/x:1"
    well(program("manifest", "create", name, base, arm))
    well(program("manifest", "annotate", name, arm, "--arch", "arm64", "--variant", "v8"))

    digest = well(program("manifest", "push", "-q", "--purge", name))

    shown = json.loads(well(program("manifest", "inspect", name)))
    assert [one["platform"]["architecture"] for one in shown["manifests"]] == ["amd64", "arm64"]
    chosen = well(program("pull", "--platform", "linux/arm64", name))
    assert f"Digest: {digest}" in chosen
    absent = program("pull", "--platform", "linux/s390x", name)
    assert absent.returncode == 13
    assert b"linux/amd64, linux/arm64" in absent.stderr
    assert program("manifest", "rm", name).returncode == 1


def test_a_list_that_was_never_pushed_outlives_pruning(
    program: Program, base: str, plain_registry: Registry
) -> None:
    name = f"{plain_registry.host}/kept/x:1"
    well(program("pull", "-q", base))
    well(program("tag", base, "mine:1"))
    well(program("manifest", "create", name, "mine:1"))

    well(program("rmi", "mine:1", base))
    well(program("system", "prune", "--all", "--force"))

    assert well(program("manifest", "ls", "-q")) == name
    well(program("manifest", "push", "--purge", name))
    assert program("manifest", "rm", name).returncode == 1
    assert well(program("pull", "-q", name)) == name


def test_a_list_of_an_older_version_is_found(program: Program, base: str, store: Store) -> None:
    described = {"mediaType": MANIFEST, "digest": f"sha256:{'0' * 64}", "size": 1}
    old = {"entries": [{"descriptor": described, "source": base}]}
    key = b"manifest-list/1 docker.io/library/old:latest"
    store.records.remember(key, json.dumps(old).encode())
    store.close()
    environ = {"BUILDER_ROOT": store.root}

    [shown] = json.loads(well(program("manifest", "inspect", "old", **environ)))["manifests"]
    well(program("manifest", "rm", "old", **environ))

    assert shown == described
    assert program("manifest", "rm", "old", **environ).returncode == 1


PLACES = ("oci:lay:v1", "oci-archive:a.tar:v1", "dir:d", "docker-archive:da.tar:x:1")


def test_copies_keep_the_digest(program: Program, base: str, plain_registry: Registry) -> None:
    first = well(program("copy", "-q", f"docker://{base}", PLACES[0]))
    for source, target in pairwise((*PLACES, "oci:last:v1")):
        assert well(program("copy", "-q", source, target)) == first
    well(program("copy", "-q", PLACES[2], f"docker://{plain_registry.host}/copied/x:1"))

    assert first in well(program("pull", f"{plain_registry.host}/copied/x:1"))


def test_copying_between_registries_fetches_only_what_is_missing(
    program: Program, plain_registry: Registry, private_registry: Registry, tmp_path: Path
) -> None:
    image = image_of(layer(file=os.urandom(50)))
    put(plain_registry.host, image, "relayed/x")
    fetched: list[str] = []

    def watch(seen: Seen, _count: int) -> None:
        if seen.method == "GET" and "/blobs/" in seen.path:
            fetched.append(seen.path)

    def copy(target: str) -> int:
        root = {"BUILDER_ROOT": str(tmp_path / f"fresh-{len(fetched)}-{target[-1]}")}
        before = len(fetched)
        options = ("-q", "--dest-creds", f"{USER}:{PASSWORD}")
        copied = well(program("copy", *options, source, f"docker://{target}", **root))
        assert copied == image.digest
        return len(fetched) - before

    with spoiling(plain_registry.host, watch) as proxy:
        source = f"docker://{proxy.host}/relayed/x:1"
        elsewhere = f"{private_registry.host}/relayed"

        near = copy(f"{proxy.host}/relayed/y:1")
        far = copy(f"{elsewhere}/x:2")
        again = copy(f"{elsewhere}/x:3")

    assert (near, far, again) == (0, 2, 0)
    for place in (f"{plain_registry.host}/relayed/y:1", f"{elsewhere}/x:3"):
        root = {"BUILDER_ROOT": str(tmp_path / f"check-{place[-1]}")}
        pulled = well(program("pull", "--creds", f"{USER}:{PASSWORD}", place, **root))
        assert image.digest in pulled


def test_each_end_of_a_copy_sees_its_own_password(program: Program, base: str) -> None:
    def script(seen: Seen) -> Answer | None:
        if seen.path != "/v2/" and "Authorization" not in seen.headers:
            return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return Answer(200) if seen.path == "/v2/" else None

    with serving(script) as source, serving(script) as target:
        places = (f"docker://{source.host}/a/b:1", f"docker://{target.host}/a/b:1")
        logins = ("--src-creds", "one:1", "--dest-creds", "two:2")
        program("copy", *logins, *places)
        program("copy", *logins, f"docker://{base}", places[1])
        shown = [
            {seen.headers.get("Authorization") for seen in server.seen} - {None}
            for server in (source, target)
        ]

    assert shown == [{"Basic b25lOjE="}, {"Basic dHdvOjI="}]


def test_artefacts_survive_copies(program: Program, plain_registry: Registry) -> None:
    blobs = image_of(layer(file=b"1")).blobs
    first, second = (
        {"mediaType": kind, "digest": digest, "size": len(blob)}
        for (digest, blob), kind in zip(blobs.items(), ("text/x", "text/y"), strict=True)
    )
    artefact = image_of(layer(file=b"1"), config=second, layers=[first], artifactType="text/z")
    put(plain_registry.host, artefact, "artefact/x")

    copied = well(program("copy", "-q", f"docker://{plain_registry.host}/artefact/x:1", "oci:a:1"))
    well(program("copy", "-q", "oci:a:1", f"docker://{plain_registry.host}/artefact/y:1"))

    assert copied == artefact.digest
    refused = program("pull", f"{plain_registry.host}/artefact/y:1")
    assert refused.returncode == 1
    assert b"text/z" in refused.stderr


@needs_skopeo
@pytest.mark.parametrize("place", PLACES)
def test_skopeo_reads_what_was_copied(
    program: Program, base: str, tmp_path: Path, place: str
) -> None:
    digest = well(program("copy", "-q", f"docker://{base}", place))

    copied = subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", place, "dir:read"],
        cwd=tmp_path, check=False, capture_output=True,
    )  # fmt: skip

    assert copied.returncode == 0, copied.stderr.decode()
    if not place.startswith("docker-archive"):
        assert well(program("copy", "-q", "dir:read", "oci:again:1")) == digest
    assert os.path.exists(tmp_path / "read/manifest.json")


def test_a_broken_registry_ends_in_time(program: Program) -> None:
    with serving(lambda seen: Answer(200 if seen.path == "/v2/" else 503)) as server:
        ended = program("pull", f"{server.host}/a/b:1")

    assert ended.returncode == 10
    assert b"status 503 (tried 6 times)" in ended.stderr
