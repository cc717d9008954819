"""Resolve what a graph stands on: image names, URLs and git refs become pins."""

from collections.abc import Callable
from typing import TypeVar

from builder.concurrency import CancelToken, Pool
from builder.dockerfile.request import (
    GitNeed,
    GitPin,
    HttpNeed,
    HttpPin,
    ImageNeed,
    ImagePin,
    Needs,
    Pins,
)
from builder.engine.bases import BaseImages
from builder.engine.lock import Pinning
from builder.engine.steps import reported
from builder.errors import BuilderError, Cancelled, InvalidImage, NotFound, RegistryError
from builder.events import Sink
from builder.oci.transport import is_file
from builder.store.store import Store

_Pin = TypeVar("_Pin")


class Resolver:
    """Resolves needs for one build, several at a time."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        sink: Sink,
        token: CancelToken,
        bases: BaseImages,
        *,
        pinning: Pinning = Pinning(),  # noqa: B008 - a value
        is_offline: bool = False,
    ) -> None:
        """Keep the collaborators; nothing is asked yet."""
        self._pinning = pinning
        self._is_offline = is_offline
        self._bases = bases
        self._store = store
        self._pool = pool
        self._sink = sink
        self._token = token

    def resolve(self, needs: Needs, pins: Pins) -> Pins:
        """Return the pins with all needs added; raise the first failure, with its place."""
        images = [(need, self._pool.submit(self._image, need)) for need in needs.images]
        urls = [(need, self._pool.submit(self._url, need)) for need in needs.urls]
        gits = [(need, self._pool.submit(self._git, need)) for need in needs.gits]
        return Pins(
            {**pins.images, **{(n.name, n.platform): task.result() for n, task in images}},
            {**pins.urls, **{n.url: task.result() for n, task in urls}},
            {**pins.gits, **{(n.remote, n.ref): task.result() for n, task in gits}},
        )

    def _image(self, need: ImageNeed) -> ImagePin:
        self._token.check()
        locked = self._pinning.image(need)
        with reported(self._sink, f"[internal] load metadata for {need.name}"):
            try:
                if is_file(need.name):
                    from builder.engine import layouts

                    return layouts.pin(self._store, need)
                return self._bases.pin(need, locked)
            except BuilderError as error:
                raise _failed(need, error) from None

    def _url(self, need: HttpNeed) -> HttpPin:
        return _placed(need, lambda: self._fetched(need))

    def _fetched(self, need: HttpNeed) -> HttpPin:
        """Fetch a download; one that a lock pins must be what it was."""
        from builder.engine import downloads

        locked = self._pinning.url(need)
        wanted = need if locked is None else need._replace(checksum=locked)
        pin = downloads.pin(
            self._store, wanted, self._sink, self._token, is_offline=self._is_offline
        )
        if locked is not None and pin.digest != locked:
            raise InvalidImage(
                f"{need.url} is {pin.digest}, but {self._pinning.name} pins {locked}",
                fix=f"see what changed there, then: builder lock --update={need.url}",
            )
        return pin

    def _git(self, need: GitNeed) -> GitPin:
        from builder.engine import git_refs

        return _placed(
            need,
            lambda: git_refs.pin(
                self._store, need, self._pinning.git(need), is_offline=self._is_offline
            ),
        )


def _placed(need: HttpNeed | GitNeed, work: Callable[[], _Pin]) -> _Pin:
    try:
        return work()
    except BuilderError as error:
        error.span = error.span or need.span
        raise


def _failed(need: ImageNeed, error: BuilderError) -> BuilderError:
    """Say which FROM could not be resolved, in the reference's words."""
    fix = f"did you mean {need.suggestion}?" if need.suggestion else error.fix
    written = need.written or need.name
    what = f"{written}: failed to resolve source metadata for {need.name}: {error.what}"
    if isinstance(error, RegistryError | Cancelled):
        error.what, error.fix, error.span = what, fix, need.span  # its kind decides the status
        return error
    return NotFound(what, fix=fix, span=need.span)
