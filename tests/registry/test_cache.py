"""Cache in registries: `--cache-to` and `--cache-from` between machines that share nothing else."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from builder.registry.repository import ACCEPT
from tests.end_to_end.site import Built, Site
from tests.engine.archives import sha
from tests.oci.schemas import check_layout, complaints
from tests.registry import servers
from tests.registry.conftest import need_registry
from tests.registry.servers import (
    Answer,
    Registry,
    Seen,
    Server,
    peer_environment,
    serving,
    spoiling,
)

pytestmark = pytest.mark.namespaces

DOCKERFILE = """\
FROM busybox AS tools
COPY lib /lib-src
RUN --mount=type=cache,id=pip,target=/pip cat /lib-src/* > /built && echo x >> /pip/wheel
FROM busybox
COPY --from=tools /built /built
RUN cat /built > /result
"""
FAILS_IF_RUN = "FROM busybox\nCOPY lib /lib\nRUN date > /when\n"


class Places(NamedTuple):
    """Two machines, and a registry between them whose requests are seen."""

    here: Site
    there: str
    server: Server
    registry: Registry

    @property
    def ref(self) -> str:
        return f"{self.server.host}/{self.here.directory.name.replace('_', '-').lower()}:cache"

    def build_there(self, *options: str, dockerfile: str = DOCKERFILE, **environ: str) -> Built:
        self.server.seen.clear()
        more = {"BUILDER_ROOT": self.there, **environ}
        return self.here.build(dockerfile, *options, status=0, stdin=b"", **more)

    def blobs(self, method: str = "GET") -> set[str]:
        """Tell which blobs were asked for."""
        paths = [path for path in self.server.paths(method) if "/blobs/sha256:" in path]
        return {path.rpartition("/")[2] for path in paths}

    def id(self, name: str, root: str = "") -> str:
        more = {"BUILDER_ROOT": root} if root else {}
        return self.here.text("image", "inspect", "--format={{.Id}}", name, **more)


@pytest.fixture
def places(
    tmp_path: Path,
    builder: Callable[..., "subprocess.CompletedProcess[bytes]"],
    busybox_archive: Path,
    plain_registry: Registry,
) -> Iterator[Places]:
    with spoiling(plain_registry.host, lambda _seen, _count: None) as server:
        yield opened(tmp_path, builder, busybox_archive, server, plain_registry)


def opened(
    directory: Path,
    program: Callable[..., "subprocess.CompletedProcess[bytes]"],
    archive: Path,
    server: Server,
    registry: Registry,
) -> Places:
    (directory / "none").touch()
    environ = {
        "HOME": str(directory),
        "DOCKER_CONFIG": str(directory / "docker"),
        "BUILDER_REGISTRIES": str(directory / "none"),
        "CONTAINERS_REGISTRIES_CONF": str(directory / "none"),
    }
    site = Site(directory, lambda *words, **more: program(*words, **{**environ, **more}))
    there = str(directory / "there")
    for root in (str(site.state), there):
        load = ("load", "--quiet", "--input", str(archive), "--tag", "busybox")
        site.run(*load, status=0, stdin=b"", BUILDER_ROOT=root)
    site.write("lib/a", "a\n")
    return Places(site, there, server, registry)


@pytest.mark.parametrize(
    "more",
    [
        "",
        ",compression=zstd,compression-level=3",
        ",compression=zstd,force-compression=true",
        ",image-manifest=false",
        ",oci-mediatypes=false",
        ",oci-mediatypes=false,image-manifest=false",
    ],
)
def test_another_machine_builds_the_same_and_runs_nothing(places: Places, more: str) -> None:
    places.here.build(
        DOCKERFILE, "--tag=app", f"--cache-to=type=registry,ref={places.ref},mode=max{more}"
    )

    built = places.build_there("--tag=app", f"--cache-from=type=registry,ref={places.ref}")

    assert all(built.steps.values())
    chain = "{{json .RootFS.Layers}}"
    inspected = [
        places.here.text("image", "inspect", f"--format={chain}", "app", BUILDER_ROOT=root)
        for root in (str(places.here.state), places.there)
    ]
    assert inspected[0] == inspected[1]
    assert places.id("app") == places.id("app", places.there)


@pytest.mark.parametrize("more", ["", ",oci-mediatypes=false"])
def test_what_is_pushed_is_valid_and_skopeo_takes_it_whole(places: Places, more: str) -> None:
    app = places.ref.replace(":cache", ":app")
    option = f"--cache-to=type=registry,ref={places.ref},mode=max,mounts=all{more}"
    places.here.build(DOCKERFILE, f"--tag={app}", "--push", "--cache-to=type=inline", option)

    index = fetched(places, "cache")
    children = [fetched(places, entry["digest"]) for entry in index["manifests"]]

    assert complaints("index", index) == []
    assert [complaints("manifest", child) for child in children] == [[], []]
    if shutil.which("skopeo"):
        layout = places.here.directory / "layout"
        copy = ("skopeo", "copy", "--src-tls-verify=false", f"docker://{app}", f"oci:{layout}")
        environment = peer_environment(places.here.directory)
        subprocess.run(copy, check=True, capture_output=True, env=environment)
        assert check_layout(layout) == 2


def test_only_the_layers_of_the_step_that_hits_are_fetched(places: Places) -> None:
    places.here.build(DOCKERFILE, f"--cache-to=type=registry,ref={places.ref},mode=max")
    manifest = fetched(places, "cache")
    layers = {layer["digest"] for layer in manifest["layers"]}

    places.build_there(f"--cache-from={places.ref}")
    whole = places.blobs() & layers
    places.build_there(f"--cache-from={places.ref}")

    assert 0 < len(whole) < len(layers) - 1  # the base is here, and the other stage has its own
    assert places.server.seen == []


def test_the_minimal_mode_has_the_final_layers_only(places: Places) -> None:
    places.here.build(DOCKERFILE, f"--cache-to=type=registry,ref={places.ref}")

    edited = DOCKERFILE.replace("/pip/wheel", "/pip/w")
    built = places.build_there(f"--cache-from={places.ref}", dockerfile=edited)

    assert not built.is_cached("COPY lib")
    assert built.is_cached("RUN cat /built")


def test_a_second_export_sends_no_blob(places: Places) -> None:
    option = f"--cache-to=type=registry,ref={places.ref},mode=max,mounts=all"
    places.here.build(DOCKERFILE, option)
    first = len(places.server.paths("PUT"))
    places.server.seen.clear()

    places.here.build(DOCKERFILE, option)

    sent = [path for path in places.server.paths("PUT") if "/blobs/" in path]
    assert first > 5
    assert sent == []
    assert places.server.paths("POST") == []


def test_cache_mounts_travel_with_the_cache(places: Places) -> None:
    places.here.build(DOCKERFILE, f"--cache-to=type=registry,ref={places.ref},mode=max,mounts=all")

    edited = DOCKERFILE.replace("echo x >>", "cat /pip/wheel && echo y >>")
    places.build_there(f"--cache-from={places.ref}", dockerfile=edited)

    [mount] = json.loads(places.here.text("cache", "inspect", "pip", BUILDER_ROOT=places.there))
    assert Path(mount["Path"], "wheel").read_text() == "x\ny\n"


def test_an_image_carries_its_cache(places: Places) -> None:
    app = places.ref.replace(":cache", ":app")
    places.here.build(DOCKERFILE, f"--tag={app}", "--push", "--cache-to=type=inline")
    places.here.build(DOCKERFILE, "--tag=plain")

    built = places.build_there(
        "--tag=app", f"--cache-from=type=registry,ref={app}", "--build-arg=BUILDKIT_INLINE_CACHE=1"
    )

    assert all(built.steps.values())
    assert places.id(app) == places.id("app", places.there)
    plain, carrying = places.here.inspect("plain"), places.here.inspect(app)
    assert plain["RootFS"] == carrying["RootFS"]
    assert plain["Config"] == carrying["Config"]
    assert plain["Id"] != carrying["Id"]


def test_an_image_of_the_store_is_a_source_by_its_name(places: Places) -> None:
    archive = places.here.directory / "app.tar"
    options = (f"--output=type=oci,dest={archive},name=app", "--cache-to=type=inline")
    places.here.build(DOCKERFILE, *options)
    places.here.text("load", "--input", str(archive), "--tag=app", BUILDER_ROOT=places.there)

    built = places.build_there("--cache-from=app", "--offline")

    assert all(built.steps.values())


def test_an_image_of_the_store_without_cache_is_told_and_nobody_is_asked(places: Places) -> None:
    built = places.build_there("--cache-from=busybox")

    assert built.stderr.count("is not used: it carries no cache") == 1
    assert "importing cache" not in built.stderr


def test_what_stands_on_an_image_does_not_inherit_its_cache(places: Places) -> None:
    places.here.build(DOCKERFILE, "--tag=app", "--cache-to=type=inline")
    places.here.build("FROM app\nLABEL x=y\n", "--tag=upper")
    places.here.build("FROM app\nRUN true\n", "--tag=upper2")

    for name in ("upper", "upper2"):
        archive = places.here.directory / f"{name}.tar"
        places.here.text("save", "--format=oci-archive", "--output", str(archive), name)
        assert b"vnd.builder.cache" not in archive.read_bytes()


def test_where_no_image_is_written_none_can_carry_the_cache(places: Places) -> None:
    dest = places.here.directory / "root.tar"
    option = f"--output=type=tar,dest={dest}"

    outside = places.here.build(DOCKERFILE, option, "--cache-to=type=inline")
    squashed = places.here.build(DOCKERFILE, "--squash", "--cache-to=type=inline")

    assert "no image is written that could carry the cache" in outside.stderr
    assert "a squashed image carries no cache" in squashed.stderr


@pytest.mark.parametrize("source", ["missing", "plain"])
def test_what_is_no_cache_is_told_and_fails_nothing(places: Places, source: str) -> None:
    name = places.ref.replace(":cache", f":{source}")
    if source == "plain":
        places.here.build(DOCKERFILE, f"--tag={name}", "--push")

    built = places.build_there(f"--cache-from=type=registry,ref={name}")

    assert not any(built.steps[name] for name in built.steps if name.startswith("RUN"))
    assert built.stderr.count("is not used: ") == 1


def test_a_registry_that_cannot_be_reached_fails_nothing(places: Places) -> None:
    built = places.build_there("--cache-from=type=registry,ref=127.0.0.1:1/no/cache")

    assert not built.is_cached("RUN cat /built")
    assert built.stderr.count("is not used: ") == 1


def test_broken_blobs_are_misses_that_are_told_once(places: Places) -> None:
    places.here.build(DOCKERFILE, f"--cache-to=type=registry,ref={places.ref},mode=max")
    layers = [layer["digest"] for layer in fetched(places, "cache")["layers"]]

    def spoil(seen: Seen, _count: int) -> Answer | None:
        is_layer = seen.method == "GET" and seen.path.rpartition("/")[2] in layers
        return Answer(200, {}, b"these are other bytes") if is_layer else None

    with spoiling(places.registry.host, spoil) as server:
        ref = places.ref.replace(places.server.host, server.host)
        built = places.build_there(f"--cache-from={ref}")

    assert not built.is_cached("RUN cat /built")
    assert built.stderr.count("cache registry:") == 1


def test_what_cannot_be_written_fails_the_command_but_not_the_image(
    tmp_path: Path,
    builder: Callable[..., "subprocess.CompletedProcess[bytes]"],
    busybox_archive: Path,
) -> None:
    need_registry()
    readonly = "maintenance: {readonly: {enabled: true}}, delete: {enabled: true}"
    with (
        servers.registry(tmp_path, storage_more=readonly) as registry,
        spoiling(registry.host, lambda _seen, _count: None) as server,
    ):
        places = opened(tmp_path, builder, busybox_archive, server, registry)
        option = f"--cache-to=type=registry,ref={places.ref}"

        failed = places.here.build(DOCKERFILE, "--tag=app", option, status=1)
        ignored = places.here.build(DOCKERFILE, "--tag=app", f"{option},ignore-error=true")

    assert "is not written" in failed.stderr
    assert "is not written" in ignored.stderr
    assert places.id("app").startswith("sha256:")


def test_caches_are_asked_in_the_order_in_which_they_are_given(places: Places) -> None:
    places.here.build(DOCKERFILE, f"--cache-to=type=registry,ref={places.ref},mode=max")
    other = places.ref.replace(":cache", ":other")
    places.here.build("FROM busybox\nRUN echo other\n", f"--cache-to=type=registry,ref={other}")

    built = places.build_there(
        f"--cache-from={other}", f"--cache-from={places.ref}", "--explain=json"
    )

    lookups = json.loads(built.stdout)["lookups"]
    assert [text.partition(" in ")[2] for text in lookups] == [
        "this store: no record",
        f"registry:{other}: no record",
        f"registry:{places.ref}: found",
    ]


def test_broken_mounts_cost_the_mounts_and_no_more(places: Places) -> None:
    option = f"--cache-to=type=registry,ref={places.ref},mode=max,mounts=all"
    places.here.build(DOCKERFILE, option)
    index = fetched(places, "cache")
    mounts = fetched(places, index["manifests"][-1]["digest"])
    [pack] = mounts["layers"]

    def spoil(seen: Seen, _count: int) -> Answer | None:
        is_pack = seen.method == "GET" and pack["digest"] in seen.path
        return Answer(200, {}, b"x" * pack["size"]) if is_pack else None

    with spoiling(places.registry.host, spoil) as server:
        ref = places.ref.replace(places.server.host, server.host)
        built = places.build_there(f"--cache-from={ref}")

    assert all(built.steps.values())
    assert built.stderr.count("cache mounts of registry:") == 1


FOREIGN = {
    "layers": [{"blob": f"sha256:{'a' * 64}", "parent": -1}],
    "records": [{"digest": f"sha256:{'b' * 64}", "layers": [{"layer": 0}]}],
}
CONFIG = b'{"schemaVersion":2,"config":{"mediaType":"application/vnd.builder.cache.config.v1+json",'
FOREIGN_TYPE = "application/vnd.buildkit.cacheconfig.v0"


def document_server(documents: dict[str, bytes], kind: str) -> Callable[[Seen], Answer | None]:
    """Serve one manifest under every tag, and some blobs."""

    def script(seen: Seen) -> Answer | None:
        name = seen.path.rpartition("/")[2]
        if seen.path == "/v2/":
            return Answer(200, {}, b"{}")
        if "/manifests/" in seen.path:
            return Answer(200, {"Content-Type": kind}, documents["root"])
        blob = documents.get(name)
        return None if blob is None else Answer(200, {}, blob)

    return script


def described(content: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{sha(content)}", "size": len(content)}


@pytest.mark.parametrize("is_index", [True, False])
def test_what_another_builder_wrote_is_told_once(places: Places, *, is_index: bool) -> None:
    config = json.dumps(FOREIGN).encode()
    layer = described(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip")
    kind = servers.INDEX if is_index else servers.MANIFEST
    parts = (
        {"manifests": [layer, described(config, FOREIGN_TYPE)]}
        if is_index
        else {"config": described(config, FOREIGN_TYPE), "layers": [layer]}
    )
    root = json.dumps({"schemaVersion": 2, "mediaType": kind, **parts}).encode()
    documents = {"root": root, f"sha256:{sha(config)}": config}

    with serving(document_server(documents, kind)) as server:
        built = places.build_there(f"--cache-from={server.host}/their/cache")

    assert built.stderr.count("made by another builder (1 records for 1 layers)") == 1
    assert built.stderr.count("cache registry:") == 1
    assert not built.is_cached("RUN cat /built")


@pytest.mark.parametrize(
    "root",
    [
        b"[" * 100_000,
        b"{}",
        b'{"schemaVersion":2,"mediaType":"' + servers.INDEX.encode() + b'","manifests":[3]}',
        CONFIG + b'"digest":"sha256:../../../etc/passwd","size":3},"layers":[]}',
        CONFIG + b'"digest":"sha256:' + b"a" * 64 + b'","size":70000000000},"layers":[]}',
        b'{"schemaVersion":2,"config":{"mediaType":"\\u001b[2J","size":3}}',
    ],
)
def test_hostile_roots_are_told_once_and_fail_nothing(places: Places, root: bytes) -> None:
    with serving(document_server({"root": root}, "application/json")) as server:
        built = places.build_there(f"--cache-from={server.host}/evil/cache")

    assert not built.is_cached("RUN cat /built")
    assert built.stderr.count("is not used: ") == 1
    assert "\x1b" not in built.stderr


def test_a_plan_foretells_what_hits_elsewhere(places: Places) -> None:
    option = f"--cache-to=type=registry,ref={places.ref},mode=max,mounts=all"
    places.here.build(DOCKERFILE, option)
    path = places.here.directory / "Dockerfile"
    words = (f"--cache-from={places.ref}", "-f", str(path), str(places.here.context))

    path.write_text(DOCKERFILE + "RUN true\n")
    plan = json.loads(places.here.text("plan", "--format=json", *words, BUILDER_ROOT=places.there))
    places.build_there(f"--cache-from={places.ref}", dockerfile=DOCKERFILE + "RUN true\n")

    assert [step["verdict"] for step in plan["steps"] if step["verdict"] != "hit"] == ["run"]
    layers = {one["what"].partition("layer ")[2] for one in plan["fetches"]}
    assert layers == places.blobs() & {x["digest"] for x in layers_of(places)}
    assert len(layers) > 0


def layers_of(places: Places) -> list[dict[str, Any]]:
    """List the layers of a cache that is an index."""
    [first, *_mounts] = fetched(places, "cache")["manifests"]
    layers: list[dict[str, Any]] = fetched(places, first["digest"])["layers"]
    return layers


def test_eight_builds_at_once_read_one_cache(places: Places) -> None:
    places.here.build(FAILS_IF_RUN, f"--cache-to=type=registry,ref={places.ref}", "--tag=app")
    path = places.here.directory / "Dockerfile"

    def build(number: int) -> Built:
        done = places.here.run(
            "build", "--progress=plain", "--file", str(path), f"--tag=app{number}",
            f"--cache-from={places.ref}", str(places.here.context),
            status=0, stdin=b"", BUILDER_ROOT=places.there,
        )  # fmt: skip
        return Built(done.returncode, done.stdout.decode(), done.stderr.decode())

    with ThreadPoolExecutor(8) as pool:
        all_built = list(pool.map(build, range(8)))

    assert all(all(built.steps.values()) for built in all_built)
    assert {places.id(f"app{n}", places.there) for n in range(8)} == {places.id("app")}


def test_four_builds_at_once_write_one_cache(places: Places) -> None:
    path = places.here.directory / "Dockerfile"
    path.write_text(DOCKERFILE)

    def build(_number: int) -> int:
        option = f"--cache-to=type=registry,ref={places.ref},mode=max,mounts=all"
        words = ("build", "--file", str(path), option, str(places.here.context))
        return places.here.run(*words, status=0, stdin=b"").returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(build, range(4))) == [0] * 4

    assert all(places.build_there(f"--cache-from={places.ref}").steps.values())


def fetched(places: Places, tag: str) -> dict[str, Any]:
    """Read a manifest as the registry has it."""
    name = places.ref.partition("/")[2].partition(":")[0]
    upstream = servers.Spoiler(places.registry.host, lambda _seen, _count: None)
    upstream.host = places.registry.host
    answer = upstream.forward(Seen("GET", f"/v2/{name}/manifests/{tag}", {"Accept": ACCEPT}, b""))
    value: dict[str, Any] = json.loads(answer.body)
    return value
