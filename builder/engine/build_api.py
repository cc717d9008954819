"""The engine's use cases around builds that build nothing; the engine is one of these."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.engine.request import BuildRequest
from builder.engine.settings import Settings
from builder.events import Sink
from builder.kernel.namespaces import Privileges
from builder.oci.platform import Platform
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.engine.context_files import ContextFiles
    from builder.engine.locking import Locked, LockRequest
    from builder.engine.mount_files import Exported, Imported
    from builder.engine.plan import Plan
    from builder.store.cache_mounts import CacheMountUsage


class BuildUseCases:
    """What can be asked about a build, and done for the next ones."""

    settings: Settings
    privileges: Privileges
    store: Store
    platform: Platform
    token: CancelToken
    sink: Sink

    def plan(self, request: BuildRequest) -> "Plan":
        """Foretell what a build would do; executes nothing."""
        from builder.engine.plan import plan

        return plan(self, request)

    def write_lock(self, request: "LockRequest") -> "Locked":
        """Pin what a Dockerfile stands on, in the file beside it."""
        from builder.engine.locking import write_lock

        return write_lock(self, self.sink, request)

    def context_files(self, request: BuildRequest) -> "ContextFiles":
        """List the files of the build context, what is ignored and what nothing reads."""
        from builder.engine.context_files import context_files

        return context_files(self, request)

    def cache_mounts(self, ids: Sequence[str]) -> "list[CacheMountUsage]":
        """List the directories that steps keep, all or some."""
        from builder.engine.mount_files import chosen

        return chosen(self.store, ids)

    def export_mounts(self, directory: str, ids: Sequence[str]) -> "list[Exported]":
        """Write cache mounts into a directory, only what is not there yet."""
        from builder.engine import mount_files
        from builder.engine.cache_layout import CacheLayout
        from builder.engine.cache_reach import reach_of

        layout = CacheLayout(directory)
        mounts = mount_files.chosen(self.store, ids)
        with layout.written():
            entries, done = mount_files.export_mounts(self.store, layout, mounts)
            layout.publish(entries, reach_of(layout))
        return done

    def import_mounts(
        self, directory: str, ids: Sequence[str], *, is_replacing: bool
    ) -> "list[Imported]":
        """Fill cache mounts from a directory."""
        from builder.engine import mount_files
        from builder.engine.cache_layout import CacheLayout

        layout = CacheLayout(directory)
        return mount_files.import_mounts(self.store, layout, ids, is_replacing=is_replacing)

    def remove_mounts(self, ids: Sequence[str]) -> "list[CacheMountUsage]":
        """Remove cache mounts that no step uses now; give those that went."""
        from builder.engine.mount_files import chosen

        gone = [m for m in chosen(self.store, ids) if self.store.cache_mounts.remove(m.hash)]
        self.store.empty_trash()
        return gone
