"""Write the lock of a Dockerfile: resolve all that its stages stand on, build nothing."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from builder.concurrency import Pool
from builder.dockerfile.lower import lower
from builder.dockerfile.parser import Dockerfile, parse
from builder.dockerfile.request import BuildRequest as LoweringRequest
from builder.dockerfile.request import ImageNeed, ImagePin, Needs, Pins
from builder.engine import options
from builder.engine.bases import BaseImages
from builder.engine.inputs import open_inputs
from builder.engine.lock import Lock, Moved, Pinning, encoded, git_name, is_commit, moved
from builder.engine.request import BuildRequest
from builder.engine.resolve import Resolver
from builder.errors import BuilderError, Cancelled, NotFound, RegistryError, UsageError
from builder.events import Sink, Warned
from builder.oci.digest import Digest
from builder.oci.reference import parse_reference
from builder.store import atomic
from builder.text import nearest
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.build_api import BuildUseCases

_STDIN_FD = 0
_MODE_BITS = 0o644
_Text = TypeVar("_Text", bound=str)


class LockRequest(NamedTuple):
    """What to lock, and which pins to give up for what is so now."""

    build: BuildRequest
    is_updating: bool = False
    names: tuple[str, ...] = ()
    """The names to update; empty is all of them."""


class Locked(NamedTuple):
    """The lock as it is now, where it is, and what moved."""

    path: str
    lock: Lock
    moved: tuple[Moved, ...]


def write_lock(engine: "BuildUseCases", sink: Sink, request: LockRequest) -> Locked:
    """Resolve what is not locked yet, or is to be updated, and write the lock if it changed.

    With `--target` the pins that only other stages need stay; without, they are dropped.
    """
    build = request.build
    with ExitStack() as stack:
        inputs = open_inputs(build._replace(is_locked=False), engine.store, stack, _STDIN_FD)
        path = inputs.pinning.name
        if not path:
            raise UsageError(
                "a Dockerfile that is in no directory has no lock", fix="save it, and name it by -f"
            )
        old = inputs.pinning.lock or Lock()
        given_up = _chosen(old, request)
        kept = _without(old, given_up)
        pinning = Pinning(old if build.is_locked else kept, path, is_required=build.is_locked)
        pool = stack.enter_context(Pool(engine.settings.jobs))
        bases = _Bases(engine.store, engine.token, sink, is_pulling=build.is_pulling,
                       is_offline=build.is_offline)  # fmt: skip
        bases.updated = given_up
        stack.enter_context(bases)
        resolver = Resolver(engine.store, pool, sink, engine.token, bases, pinning=pinning,
                            is_offline=build.is_offline)  # fmt: skip
        dockerfile = parse(inputs.dockerfile, cache_dir=engine.store.path("parsed"))
        walk = _Walk(dockerfile, resolver, sink)
        for one in options.lowering_requests(build, inputs, engine.platform):
            walk.through(one)
        new = walk.lock(bases.roots, kept if build.target else Lock())
    if not build.is_locked and (new != old or inputs.pinning.lock is None):
        atomic.write(path, encoded(new), mode_bits=_MODE_BITS)
    return Locked(path, new, tuple(moved(old, new)))


class _Bases(BaseImages):
    """Bases of which some are asked for anew; an image that is only here stays what it is here."""

    updated: frozenset[str] = frozenset()

    def pin(self, need: ImageNeed, locked: Digest | None = None) -> ImagePin:
        """Ask the registry about names to update, whatever is here."""
        reference = parse_reference(need.name)
        if locked is not None or need.name not in self.updated or self.is_offline:
            return super().pin(need, locked)
        try:
            return self._asked(reference, need)
        except (RegistryError, NotFound) as error:
            if self.store.images.get(reference) is None:
                raise
            self.sink(Warned(f"{need.name} is taken from the store: {error.what}"))
            return super().pin(need)


class _Walk:
    """Lowers one target after the other, and keeps what they needed."""

    def __init__(self, dockerfile: Dockerfile, resolver: Resolver, sink: Sink) -> None:
        self._dockerfile = dockerfile
        self._resolver = resolver
        self._sink = sink
        self._pins = Pins()
        self._checked: set[str] = set()
        """URLs whose content the Dockerfile pins itself."""
        self._images: dict[str, None] = {}

    def through(self, request: LoweringRequest) -> None:
        """Lower the target, and without one all stages; what is wrong with another is told."""
        self._lower(request)
        if request.target:
            return
        for target in (stage.from_.name for stage in self._dockerfile.stages[:-1]):
            if not target:
                continue  # nobody can build it but as part of another
            try:
                self._lower(request._replace(target=target))
            except Cancelled:
                raise
            except BuilderError as error:
                self._sink(Warned(f"the stage {target} is not locked: {error.what}"))

    def _lower(self, request: LoweringRequest) -> None:
        while isinstance(needs := lower(self._dockerfile, request, self._pins), Needs):
            self._checked.update(need.url for need in needs.urls if need.checksum is not None)
            self._pins = self._resolver.resolve(needs, self._pins)

    def lock(self, roots: Mapping[str, Digest], more: Lock) -> Lock:
        """Make the lock of what was needed, and of what another has more."""
        images = {name: root for name, root in roots.items() if "@" not in name}
        urls = {url: pin.digest for url, pin in self._pins.urls.items() if url not in self._checked}
        gits = {
            git_name(remote, ref): pin.commit
            for (remote, ref), pin in self._pins.gits.items()
            if not is_commit(ref)
        }
        return Lock({**more.images, **images}, {**more.urls, **urls}, {**more.gits, **gits})


def _chosen(old: Lock, request: LockRequest) -> frozenset[str]:
    """Find the pins to give up; NotFound for a name that none has."""
    known = [name for name, _pin in old.entries()]
    if not request.is_updating:
        return frozenset()
    if not request.names:
        return frozenset(known)
    found: set[str] = set()
    for name in request.names:
        fitting = [entry for entry in known if name in _spellings(entry, old)]
        if not fitting:
            words = sorted({word for entry in known for word in _spellings(entry, old)})
            near = nearest(name, words)
            fix = f"did you mean {near}?" if near else "lock it first, without --update"
            raise NotFound(f"the lock has no {name}", fix=fix)
        found.update(fitting)
    return frozenset(found)


def _spellings(entry: str, lock: Lock) -> Sequence[str]:
    """List how users may name a pin: in full, the short way, without its tag or ref."""
    if entry not in lock.images:
        return (entry, entry.partition("#")[0]) if entry in lock.gits else (entry,)
    reference = parse_reference(entry)
    bare = reference._replace(tag="")
    return (entry, reference.familiar, bare.familiar, bare.name)


def _without(lock: Lock, names: frozenset[str]) -> Lock:
    return Lock(_left(lock.images, names), _left(lock.urls, names), _left(lock.gits, names))


def _left(pins: Mapping[str, _Text], names: frozenset[str]) -> dict[str, _Text]:
    return {name: pin for name, pin in pins.items() if name not in names}
