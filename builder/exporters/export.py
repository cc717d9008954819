"""One finished build to one output. Nothing stays at the destination if it fails.

What writes files loads when an output asks for it: keeping an image in the store needs none of it.
"""

from collections.abc import Sequence

from builder.exporters.documents import Documents, assemble, created_annotation
from builder.exporters.output import Output
from builder.exporters.result import Exported, ImageResult
from builder.store.store import Store


def export(
    output: Output,
    images: Sequence[ImageResult],
    store: Store,
    *,
    stdout: int = 1,
    epoch_s: int | None = None,
    is_index: bool = False,
) -> Exported:
    """Write images, the host's platform first, as one output says.

    `epoch_s` is SOURCE_DATE_EPOCH, to which rewrite-timestamp clamps. `is_index` makes an index
    also of a single image. StoreError if a blob is corrupt, KernelError if the disk refuses.
    """
    if output.type == "cacheonly":
        return Exported(output)
    if output.needs_root:
        from builder.exporters.rootfs import write_roots

        write_roots(output, images, store, stdout, epoch_s)
        return Exported(output)
    ready = _ready(output, images, store, epoch_s)
    documents = assemble(ready, output, is_index=is_index)
    if output.type == "image":
        _keep(output, documents, store)
    else:
        _write_layout(output, documents, ready, store, stdout)
    return Exported(output, documents.root, documents.manifests[0].config.digest)


def _ready(
    output: Output, images: Sequence[ImageResult], store: Store, epoch_s: int | None
) -> Sequence[ImageResult]:
    """Give the images with their layers as the output wants them."""
    if not output.is_compression_forced and not output.is_rewriting_timestamps:
        return images
    from builder.exporters.convert import converted

    return [converted(image, output, store, epoch_s=epoch_s) for image in images]


def _keep(output: Output, documents: Documents, store: Store) -> None:
    """Put an image into the store; children before the documents that name them."""
    for content in documents.contents.values():
        store.content.put(content)
    if not output.names:
        store.images.add(documents.root)
    for name in output.names:
        store.images.tag(name, documents.root)


def _write_layout(
    output: Output,
    documents: Documents,
    images: Sequence[ImageResult],
    store: Store,
    stdout: int,
) -> None:
    from builder.exporters.blobs import Blobs
    from builder.exporters.image_file import write_images
    from builder.exporters.layout import Root

    annotations = dict((*created_annotation(images), *documents.root.annotations))
    described = documents.root._replace(annotations=tuple(sorted(annotations.items())))
    is_docker = output.type == "docker"
    root = Root(described, output.names, documents.manifests[0] if is_docker else None)
    write_images(
        (root,),
        Blobs(store.content, documents.contents),
        output.dest,
        stdout,
        is_archive=output.is_archive,
    )
