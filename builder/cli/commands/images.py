"""`builder images`: what is in the store."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, flag, multiple, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.wire import ImageFacts

COMMAND = Command(
    name="images",
    summary="List images.",
    arguments=(Argument("NAME[:TAG]", minimum=0),),
    options=(
        flag("-a", "--all", help="also intermediate ones (there are none)", is_hidden=True),
        flag("--digests", help="show manifest digests"),
        multiple("-f", "--filter", "KEY=VALUE", help="dangling, label, reference, before, since"),
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        flag("--no-trunc", help="show IDs in full"),
        flag("-q", "--quiet", help="show IDs only"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line for each name, the newest image first."""
    from builder.cli.tables import Column, show
    from builder.cli.values import filters

    wanted = filters(arguments.values("filter"))
    if arguments.words:
        wanted["reference"] = (*wanted.get("reference", ()), *arguments.words)
    with session.engine() as engine:
        found = engine.images(wanted)
    is_short = not arguments.flag("no-trunc")
    columns = [
        Column("REPOSITORY", "Repository"),
        Column("TAG", "Tag"),
        Column("DIGEST", "Digest"),
        Column("IMAGE ID", "ID"),
        Column("CREATED", "CreatedSince"),
        Column("SIZE", "Size"),
    ]
    if not arguments.flag("digests"):
        del columns[2]
    show(
        session,
        [row for image in found for row in image_rows(image, is_short=is_short)],
        columns,
        format=arguments.value("format"),
        is_quiet=arguments.flag("quiet"),
    )
    return 0


def image_rows(image: "ImageFacts", *, is_short: bool) -> list[dict[str, object]]:
    """Give a row for each name of an image, one without names if it has none."""
    from builder.cli.tables import human_age, human_size, short_id
    from builder.wire import NOT_A_NAME, unix_seconds

    created_s = unix_seconds(image.config.created) or image.created_s
    size = human_size(image.size_bytes)
    names = [(name._replace(tag="", digest=None).familiar, name.tag) for name in image.names]
    return [
        {
            "ID": short_id(image.image_id) if is_short else image.image_id,
            "Repository": repository,
            "Tag": tag or NOT_A_NAME,
            "Digest": image.descriptor.digest,
            "CreatedSince": f"{human_age(max(0, time.time() - created_s))} ago",
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(created_s)),
            "Size": size,
            "VirtualSize": size,
            "SharedSize": human_size(image.shared_bytes),
            "UniqueSize": human_size(image.size_bytes - image.shared_bytes),
            "Containers": str(image.containers),
        }
        for repository, tag in names or [(NOT_A_NAME, NOT_A_NAME)]
    ]
