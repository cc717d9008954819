"""The engine in this process: what it owns, and one method a use case."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.engine.build_api import BuildUseCases
from builder.engine.containers_api import ContainerUseCases
from builder.engine.forerunner import NONE, Forerunner
from builder.engine.image_api import ImageUseCases
from builder.engine.registry_api import RegistryUseCases
from builder.engine.request import BuildRequest, Built
from builder.engine.settings import Settings
from builder.events import Sink, Warned
from builder.kernel.namespaces import Privileges
from builder.oci.platform import Platform, host_platform
from builder.sandbox.zygote import Zygote
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.store.fsck import Problem


class LocalEngine(BuildUseCases, RegistryUseCases, ContainerUseCases, ImageUseCases):
    """Settings, privileges and the open store; for a build, the processes that work beside it."""

    def __init__(
        self,
        settings: Settings,
        privileges: Privileges,
        store: Store,
        *,
        token: CancelToken,
        sink: Sink,
        zygote: Zygote | None,
        forerunner: Forerunner | None,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        """Keep what `compose` made, and releases."""
        self.settings = settings
        self.privileges = privileges
        self.store = store
        self.token = token
        self.sink = sink
        self.platform: Platform = host_platform(os.uname().machine)
        self.forerunner = forerunner or NONE
        self.later = later
        """Does what no answer waits for, when no thread is left and the store is closed."""
        self._zygote = zygote
        self._is_building = False
        self._put_off: list[Callable[[], None]] = []

    @property
    def zygote(self) -> Zygote:
        """The parent of the sandboxes of a build; only of an engine that was opened for one."""
        assert self._zygote is not None  # noqa: S101 - narrows the type
        return self._zygote

    def warn(self, text: str) -> None:
        """Tell the user something that is no failure."""
        self.sink(Warned(text))

    def check_store(self, *, is_repairing: bool, is_deep: bool) -> "tuple[Problem, ...]":
        """Check the store, blobs byte for byte if `is_deep`; remove what is broken if asked."""
        from builder.store.fsck import fsck

        return fsck(self.store, is_repairing=is_repairing, is_deep=is_deep)

    def build(self, request: BuildRequest) -> Built:
        """Build a Dockerfile."""
        from builder.engine.build import build

        self._is_building = True
        return build(self, request)

    def put_off(self, work: Callable[[], None]) -> None:
        """Do something, which must not use the store, with what `settle` does."""
        self._put_off.append(work)

    def settle(self) -> None:
        """Make what a build has written durable and keep the space budget, in another process.

        Called last, when no thread is left; the store is closed by it. If nothing was written,
        what was put off is done at once, for there is no other process.
        """
        store = self.store
        if not self._is_building or not (store.content.has_written or store.snapshots.has_written):
            for work in self._put_off:
                work()
            return
        for work in self._put_off:
            self.later(work)
        settings, privileges = self.settings, self.privileges
        if settings.limits or os.path.exists(settings.config):
            from builder.engine.budget import complaint

            text = complaint(settings.config, settings.limits, settings.root)
            if text:
                self.warn(text)

        rows = store.database.query("SELECT id, size_bytes FROM snapshots WHERE is_committed = 1")

        def watch_budget() -> None:
            from builder.engine.budget import watch  # not what anybody waits for

            watch(settings, privileges, rows)

        store.sync_later(watch_budget, later=self.later)
