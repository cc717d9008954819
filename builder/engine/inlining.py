"""The cache of a build, put into the configs of its images.

That is what `--cache-to type=inline` and the build argument BUILDKIT_INLINE_CACHE=1 ask for: the
steps that made the image's own layers, as far as each came to the lowest layers of it. The layers
and all that a runtime reads stay as they are.
"""

from collections.abc import Mapping

from builder.engine import inline_cache
from builder.engine.assemble import Solved
from builder.engine.cache_document import CarriedRecord
from builder.engine.collecting import Elsewhere, recorded, wanted_steps
from builder.graph.vertex import Vertex
from builder.oci.digest import Digest
from builder.store.store import Store


def with_inline_cache(
    store: Store, solved: Solved, fast: Mapping[Vertex, Digest], elsewhere: Elsewhere
) -> Solved:
    """Give the same image, its config with the records; the very same if there are none."""
    if solved.root is None:
        return solved
    chain = store.snapshots.chain(solved.root)
    ids = [snapshot.id for snapshot in chain]
    diff_ids = [store.layers.diff_id(snapshot) for snapshot in chain]
    wanted = wanted_steps([solved.lowered.root], fast, is_minimal=True)
    records = []
    for step in recorded(store, wanted, fast, elsewhere):
        own = [snapshot.id for snapshot in step.chain]
        theirs = [] if step.elsewhere is None else step.elsewhere.layers
        if own == ids[: len(own)] and [x.layer.diff_id for x in theirs] == diff_ids[: len(theirs)]:
            layers = tuple(range(len(own) or len(theirs)))
            records.append(CarriedRecord(step.fast, step.slow, step.name, layers))
    if not records:
        return solved
    config = solved.lowered.config._replace(cache=inline_cache.to_json(records))
    return solved._replace(lowered=solved.lowered._replace(config=config))
