"""Between containers and images or archives: commit, export, cp."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from builder.containers import changes, copying
from builder.containers.creation import Workplace
from builder.containers.lifecycle import pause, unpause
from builder.containers.model import now
from builder.containers.records import Record
from builder.engine.changes import changed_config
from builder.errors import Conflict, UsageError
from builder.layers.compress import Compressor
from builder.layers.diff import changes as all_members
from builder.layers.layer import write_changes
from builder.layers.tarwriter import Buffer
from builder.oci import config as configs
from builder.oci import descriptor as descriptors
from builder.oci import media
from builder.oci.config import History, ImageConfig
from builder.oci.descriptor import Descriptor, Manifest, describe
from builder.oci.digest import Digest
from builder.oci.reference import Reference
from builder.values import NamedTuple


class CommitRequest(NamedTuple):
    """The flags of `commit`."""

    reference: Reference | None = None
    changes: tuple[str, ...] = ()
    author: str = ""
    message: str = ""
    is_paused: bool = True


def commit(place: Workplace, record: Record, request: CommitRequest) -> Digest:
    """Make an image of a container's files as they are now; the image's ID."""
    container = record.container
    store = place.store
    parent = descriptors.parse_manifest(
        store.content.read(Digest(container.manifest), limit=descriptors.MAX_MANIFEST_BYTES)
    )
    base = configs.parse_config(
        store.content.read(parent.config.digest, limit=configs.MAX_CONFIG_BYTES)
    )
    with _still(place, record, is_wanted=request.is_paused):
        layer, diff_id = _written_layer(place, record)
    run_config = changed_config(
        container.config, request.changes, base.platform, cache_dir=store.path("parsed")
    )
    moment = now()
    config = ImageConfig(
        base.platform,
        run_config,
        (*base.diff_ids, diff_id),
        (
            *base.history,
            History(moment, " ".join(container.argv), request.message, request.author),
        ),
        moment,
        request.author,
    )
    written = configs.to_json(config)
    manifest = Manifest(media.MANIFEST, describe(written, media.CONFIG), (*parent.layers, layer))
    document = descriptors.to_json(manifest)
    for content in (written, document):
        store.content.put(content)
    root = describe(document, media.MANIFEST, base.platform)
    if request.reference is None:
        store.images.add(root)
    else:
        store.images.tag(request.reference, root)
    place.journal.container("commit", container, imageID=manifest.config.digest)
    return manifest.config.digest


def export(place: Workplace, record: Record, out: int) -> None:
    """Write all files of a container as a plain tar archive."""
    with changes.merged_root(place, record.container) as root_fd:
        members = all_members(
            f"/proc/self/fd/{root_fd}", (), userxattr=place.store.snapshots.userxattr
        )
        write_changes(members, lambda piece: _write_all(out, piece))


class CopyRequest(NamedTuple):
    """The flags of `cp`; `-` as the host's side is a tar stream."""

    container_path: str
    host_path: str
    keeps_owners: bool = False
    follow_links: bool = False


def copy_out(place: Workplace, record: Record, request: CopyRequest, stdout: int) -> None:
    """Copy from a container to the host."""
    with _root(place, record) as root_fd, ExitStack() as stack:
        source, is_content = copying.source_in(
            root_fd, request.container_path, follow_links=request.follow_links
        )
        stack.callback(os.close, source.parent_fd)
        name = os.path.basename(os.path.normpath(request.container_path)).strip("/") or "."
        if request.host_path == "-":
            copying.write_tar(
                source, is_content=is_content, name=name, write=lambda p: _write_all(stdout, p)
            )
            return
        rules = copying.Rules(
            None if request.keeps_owners else (os.geteuid(), os.getegid()), request.keeps_owners
        )
        host_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, host_fd)
        copying.copy(
            source,
            is_content=is_content or name == ".",
            name=name,
            root_fd=host_fd,
            dest=_absolute(request.host_path),
            rules=rules,
        )


def copy_in(place: Workplace, record: Record, request: CopyRequest, stdin: int) -> None:
    """Copy from the host into a container."""
    with _root(place, record) as root_fd, ExitStack() as stack:
        rules = copying.Rules(None if request.keeps_owners else (0, 0), keeps_special_bits=True)
        if request.host_path == "-":
            rules = rules._replace(owner=None)
            copying.read_tar(stdin, root_fd, request.container_path, rules)
            return
        host_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, host_fd)
        source, is_content = copying.source_in(
            host_fd, _absolute(request.host_path), follow_links=request.follow_links
        )
        stack.callback(os.close, source.parent_fd)
        copying.copy(
            source,
            is_content=is_content,
            name=os.path.basename(os.path.normpath(_absolute(request.host_path))),
            root_fd=root_fd,
            dest=request.container_path,
            rules=rules,
        )


def _written_layer(place: Workplace, record: Record) -> tuple[Descriptor, Digest]:
    content = place.store.content
    with content.ingest() as ingest:
        with Compressor(ingest.fd, "gzip") as compressor:
            members = changes.layer_changes(place, record.container)
            write_changes(members, compressor.write, copy=compressor.copy)
            blob = compressor.finish()
        ingest.commit(blob.digest, blob.size_bytes, is_verified=True)
    return Descriptor(media.LAYER_GZIP, blob.digest, blob.size_bytes), blob.diff_id


@contextmanager
def _still(place: Workplace, record: Record, *, is_wanted: bool) -> Iterator[None]:
    """Freeze a running container meanwhile, so that its files are of one moment."""
    if not is_wanted or record.state.status != "running":
        yield
        return
    pause(place, record)
    try:
        yield
    finally:
        unpause(place, place.records.get(record.container.id))


@contextmanager
def _root(place: Workplace, record: Record) -> Iterator[int]:
    """Open a container's root for reading and writing: a running one's with all its mounts."""
    container, state = record
    if state.is_alive and state.pid:
        fd = os.open(f"/proc/{state.pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
        return
    with place.store.snapshots.mounted(changes.active_of(place, container)) as fd:
        yield fd


def _absolute(path: str) -> str:
    """Make a host path absolute but keep `/` and `/.` at its end, which mean something."""
    if not path:
        raise UsageError("an empty path names nothing")
    tail = next((end for end in ("/.", "/") if path.endswith(end)), "")
    return os.path.abspath(path) + ("/." if path == "." else tail)


def _write_all(fd: int, content: Buffer) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def check_terminal(fd: int, what: str) -> None:
    """Raise Conflict rather than write an archive to a terminal."""
    if os.isatty(fd):
        raise Conflict(f"{what} is not written to a terminal", fix="use -o FILE, or a pipe")


def split_place(text: str) -> tuple[str, str]:
    """Split `CONTAINER:PATH`; the container is empty for a path of the host."""
    if text.startswith(("/", "./", "../")) or text in {"-", ".", ".."}:
        return "", text
    name, colon, path = text.partition(":")
    return (name, path) if colon else ("", text)
