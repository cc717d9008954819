"""What a COPY does that its author may not expect, told before it is done.

The reference builder accepts all of it silently.
"""

import os

from builder.errors import KernelError
from builder.graph.ops import Copy
from builder.graph.vertex import Selector, has_wildcards
from builder.kernel.paths import exists, open_in_root
from builder.layers.checksum import Checksums
from builder.layers.mode import parse_mode

_ENTER = 0o111


def surprises(action: Copy, source: Checksums, dest_root_fd: int) -> tuple[str, ...]:
    """Say what of an action is worth a warning; reads the source's listing and the destination."""
    found = []
    is_pattern = action.allow_wildcard and has_wildcards(action.source)
    is_alone = not is_pattern and not action.dest_is_directory
    if not action.parents and not is_alone:
        selector = Selector(action.source, is_pattern, action.exclude, action.is_required)
        nodes = source.selected(selector)
        if not nodes:
            found.append(f"no file matches {action.source}, so nothing was copied")
        is_one_of_several = action.dest_is_directory or len(nodes) > 1
        followed = [source.followed(node) for node in nodes]
        has_files = any(node is not None and not node.is_directory for node in followed)
        if is_one_of_several and has_files and not _is_directory(dest_root_fd, action.dest):
            found.append(
                f"several sources are copied onto the one file {action.dest}: the last stays;"
                " end the destination with a slash to make it a directory"
            )
    if action.chmod and _is_parent_unusable(action, dest_root_fd):
        found.append(
            f"--chmod={action.chmod} also applies to the directories that are made for"
            f" {action.dest}: nobody but root can enter them"
        )
    return tuple(found)


def _is_directory(root_fd: int, path: str) -> bool:
    if path.endswith("/"):
        return True
    try:
        os.close(open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except KernelError:
        return False
    return True


def _is_parent_unusable(action: Copy, root_fd: int) -> bool:
    mode = parse_mode(action.chmod)
    if mode is None or mode.of_parents & _ENTER:
        return False
    return not exists(root_fd, action.dest.rpartition("/")[0] or "/")
