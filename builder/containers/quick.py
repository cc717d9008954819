"""`run --rm` of an image that was run before, in the foreground: without database or fsync.

What the first run found out about the image is kept in a small file. It holds as long as the
store's index of images has not been replaced, which every change and every collection does; a
lease keeps collection away while the container runs. The writable layer is in the container's own
directory and goes to the trash with it.
"""

import marshal
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from builder import __version__
from builder.containers.assembly import Base, Fresh, composed, effective_config
from builder.containers.model import Container, MountPoint, State, monitored, new_id
from builder.containers.request import Attachment, ContainerRequest
from builder.containers.tidy import tidy
from builder.oci.config import Healthcheck, RunConfig
from builder.oci.digest import Digest, sha256
from builder.oci.transport import is_file
from builder.store.snapshotter import Active
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.containers.recipe import Recipe
    from builder.containers.runtime import Plan, Runtime
    from builder.kernel.ids import Identity
    from builder.store.store import Store

_DIRECTORY = f"run-images-{marshal.version}-{__version__}"
_HEALTH = RunConfig._fields.index("healthcheck")
_LAYER = "layer"
_MODES = ("", "host", "none", "bridge")


class KnownImage(NamedTuple):
    """What a run needs to know of an image, and of what store and boot that is true."""

    generation: tuple[int, int, int]
    boot: str
    uid: int
    base: Base
    lowers: tuple[str, ...]
    config: RunConfig


def remember(store: "Store", plan: "Plan") -> None:
    """Keep what a first run found out, if a quick one can use it."""
    from builder.oci import descriptor

    container = plan.container
    if not _is_simple(container.request) or not plan.active.work or container.snapshot is None:
        return
    base = Base(container.manifest, container.image_id, container.snapshot, container.platform)
    limit = descriptor.MAX_MANIFEST_BYTES
    content = store.content.read(Digest(container.manifest), limit=limit)
    config = store.images.config(descriptor.parse_manifest(content)).config
    if config.volumes:
        return
    index = _index(store.root)
    if index is None:
        return
    known = KnownImage(index, _boot(), os.geteuid(), base, plan.active.lowers, config)
    directory = store.path(_DIRECTORY)
    os.makedirs(directory, 0o700, exist_ok=True)
    _remove_stale(directory, index)
    path = os.path.join(directory, _name(container.request))
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "wb") as file:
        marshal.dump(_plain(known), file)
    os.replace(temporary, path)


def _remove_stale(directory: str, generation: tuple[int, int, int]) -> None:
    """Remove what is no longer true, so that the files do not pile up."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        known = _read(path)
        if known is None or known.generation != generation:
            with suppress(FileNotFoundError):
                os.unlink(path)


def run(
    root: str,
    request: ContainerRequest,
    attachment: Attachment,
    warn: Callable[[str], None],
    *,
    keep: "Callable[[Recipe | None], None] | None" = None,
) -> int | None:
    """Run a container if that can be quick; its exit status, or None if nothing was done.

    `keep` is given the recipe for running such a container again, or None if there is none.
    """
    known = _known(root, request)
    if known is None:
        return None
    from builder.containers.spec import refuse_unsupported
    from builder.store.leases import Leases
    from builder.store.locks import Locks
    from builder.store.paths import Paths

    refuse_unsupported(request)
    quick = _QuickRun(root, request, known, warn=warn)
    paths = Paths(root)
    leases = Leases(paths, Locks(paths.lock))
    try:
        with leases.adding():
            if _index(root) != known.generation:
                return None
            leases.pin_image(Digest(known.base.manifest))
            leases.pin_snapshot(known.base.snapshot or 0)
        status = quick.run(attachment)
    finally:
        leases.close()
        tidy(root)
    if keep is not None:
        keep(quick.recipe())
    return status


def layer_of(directory: str, lowers: tuple[str, ...], parent: int | None) -> Active | None:
    """Find the writable layer that a quick container keeps in its own directory."""
    upper = f"{directory}/{_LAYER}/diff"
    if not os.path.isdir(upper):
        return None
    return Active(0, parent, upper, f"{directory}/{_LAYER}/work", lowers)


class _QuickRun:
    """One run: makes the container, watches over it, takes it away."""

    def __init__(
        self,
        root: str,
        request: ContainerRequest,
        known: KnownImage,
        *,
        warn: Callable[[str], None],
    ) -> None:
        from builder.containers.journal import Journal
        from builder.containers.records import Records

        self._warn = warn
        self._root = root
        self._request = request
        self._known = known
        self._records = Records(root)
        self._journal = Journal(root)
        self._runtime: Runtime | None = None

    def run(self, attachment: Attachment) -> int:
        from builder.containers.monitor import Local, Monitor
        from builder.containers.network import NetworkPlan
        from builder.containers.runtime import Plan, Runtime
        from builder.containers.supervision import supervise
        from builder.kernel.namespaces import enter

        privileges = enter()
        container, active = self._make()

        def ended() -> None:
            self._records.remove(container)
            self._journal.container("destroy", container)

        try:
            identity = identity_in(container, active, userxattr=privileges.userxattr)
        except BaseException:
            ended()
            raise
        plan = Plan(container, active, identity, privileges, self._root)
        network = NetworkPlan(self._root, privileges.is_root, self._warn)
        local = Local(
            attachment.stdin, attachment.stdout, attachment.stderr, attachment.is_sig_proxy
        )
        self._runtime = runtime = Runtime(plan, self._records, network)
        monitor = Monitor(runtime, self._records, self._journal, local=local)
        return supervise(monitor, local, ended)

    def recipe(self) -> "Recipe | None":
        """Write the recipe of the container that ran."""
        if self._runtime is None or self._runtime.launched is None:
            return None
        plan, launched = self._runtime.plan, self._runtime.launched
        if not plan.privileges.is_root:
            return None
        from builder.containers.recipe import recipe_of

        return recipe_of(plan.container, plan.active, launched.spec, launched.stubs)

    def _make(self) -> tuple[Container, Active]:
        """Make the container's directory, layer and record; nothing is left after an error."""
        request, records, container_id = self._request, self._records, new_id()
        config = effective_config(self._known.config, request)
        name = ""
        records.prepare(container_id)
        try:
            active = _made_layer(records.path(container_id), self._known)
            name = records.claim(request.name, container_id)
            mounts = self._mounts(config) if request.mounts else ()
            fresh = Fresh(container_id, name, config, mounts, request.networks)
            container = composed(request, self._known.base, fresh)
            records.create(container, monitored(State()))
        except BaseException:
            records.forget_name(name, container_id)
            records.discard(container_id)
            raise
        self._journal.container("create", container)
        return container, active

    def _mounts(self, config: RunConfig) -> tuple[MountPoint, ...]:
        from builder.containers.mounts import resolve
        from builder.volumes.registry import Volumes

        records = self._records
        volumes = Volumes(self._root)
        return resolve(self._request, config, volumes, lambda n: records.get(n).container)


def identity_in(container: Container, active: Active, *, userxattr: bool) -> "Identity":
    """Find out who a quick container runs as; raise StartError."""
    from builder.containers.identity import resolve

    def mounted(layer: Active) -> AbstractContextManager[int]:
        from builder.kernel.mounts import mounted_overlay

        # for reading alone: the container may run, and a volatile tree is mounted only once
        return mounted_overlay((layer.upper, *layer.lowers), userxattr=userxattr)

    return resolve(active, mounted, container.config.user, container.request.groups)


def _known(state_dir: str, request: ContainerRequest) -> KnownImage | None:
    """Read what is known of the image, if it still holds."""
    if not _is_simple(request):
        return None
    known = _read(os.path.join(state_dir, _DIRECTORY, _name(request)))
    if known is None or known.generation != _index(state_dir) or known.uid != os.geteuid():
        return None
    return known if known.boot == _boot() else None


def _read(path: str) -> KnownImage | None:
    """Read a file that `remember` wrote; None if there is none, or another version wrote it."""
    try:
        with open(path, "rb") as file:
            generation, boot, uid, base, lowers, config = marshal.load(file)  # noqa: S302 - our own
        health = config[_HEALTH] and Healthcheck(*config[_HEALTH])
        run_config = RunConfig(*config)._replace(healthcheck=health)
        return KnownImage(generation, boot, uid, Base(*base), lowers, run_config)
    except (OSError, ValueError, TypeError, EOFError):
        return None


def _plain(value: Any) -> Any:
    """Turn named tuples into tuples, which is all that marshal knows."""
    return tuple(_plain(item) for item in value) if isinstance(value, tuple) else value


def _is_simple(request: ContainerRequest) -> bool:
    """Tell whether a run needs nothing that only the database knows."""
    mode = request.networks[0] if request.networks else ""
    return (
        request.is_removed
        and not request.is_tty
        and request.pull != "always"
        and not is_file(request.image)
        and not request.cidfile
        and not request.volumes_from
        and not request.links
        and len(request.networks) <= 1
        and (mode in _MODES or mode.startswith("container:"))
        and all(mount.type in {"bind", "tmpfs"} for mount in request.mounts)
    )


def _name(request: ContainerRequest) -> str:
    """Name the file: by what the user called the image, and an archive's own identity."""
    words = [request.image, request.platform]
    if "/" in request.image or request.image.endswith(("tar", "gz")):
        try:
            status = os.stat(request.image)
        except OSError:
            pass
        else:
            words += [os.path.abspath(request.image), str(status.st_size), str(status.st_mtime_ns)]
            words += [str(status.st_ino), str(status.st_ctime_ns)]
    return sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()


def _index(root: str) -> tuple[int, int, int] | None:
    """Identify the state of the store's index of images."""
    try:
        status = os.stat(os.path.join(root, "content", "index.json"))
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _made_layer(directory: str, known: KnownImage) -> Active:
    """Make the writable layer; its root takes mode and owner from the image's."""
    upper, work = f"{directory}/{_LAYER}/diff", f"{directory}/{_LAYER}/work"
    os.mkdir(f"{directory}/{_LAYER}", 0o700)
    os.mkdir(upper, 0o755)
    os.mkdir(work, 0o700)
    status = os.stat(known.lowers[0])
    os.chmod(upper, status.st_mode & 0o7777)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(upper, status.st_uid, status.st_gid)
    return Active(0, known.base.snapshot, upper, work, known.lowers)
