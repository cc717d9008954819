"""Where state lives and how much may run at once; read from flags and environment at the edge."""

import os
from collections.abc import Mapping

from builder.values import NamedTuple

SYSTEM_ROOT = "/var/lib/builder"
SYSTEM_CONFIG = "/etc/builder/builder.toml"
LIMITS = {
    "BUILDER_GC": "enabled",
    "BUILDER_KEEP_STORAGE": "keep-storage",
    "BUILDER_MAX_USED": "max-used",
    "BUILDER_MIN_FREE": "min-free",
}


class Settings(NamedTuple):
    """Settings of one invocation. Paths are of the host."""

    root: str
    """The state directory: images, cache, containers, volumes."""
    jobs: int = 16
    """How many steps may run at once."""
    is_debug: bool = False
    config: str = ""
    """The configuration file, which need not exist."""
    limits: tuple[tuple[str, str], ...] = ()
    """Limits of the build cache that were given besides it, by their names there."""


def settings_from(root: str | None, environ: Mapping[str, str], uid: int) -> Settings:
    """Choose the state directory: `--root`, BUILDER_ROOT, else the place for this user."""
    chosen = root or environ.get("BUILDER_ROOT")
    if not chosen:
        chosen = SYSTEM_ROOT if uid == 0 else _user_root(environ, uid)
    return Settings(
        os.path.abspath(chosen),
        jobs=max(16, 2 * (os.cpu_count() or 1)),
        config=environ.get("BUILDER_CONFIG") or _config(environ, uid),
        limits=tuple((name, environ[key]) for key, name in LIMITS.items() if key in environ),
    )


def _config(environ: Mapping[str, str], uid: int) -> str:
    base = environ.get("XDG_CONFIG_HOME")
    if not base:
        if uid == 0 or "HOME" not in environ:
            return SYSTEM_CONFIG
        base = os.path.join(environ["HOME"], ".config")
    return os.path.join(base, "builder", "builder.toml")


def _user_root(environ: Mapping[str, str], uid: int) -> str:
    home = environ.get("XDG_DATA_HOME") or os.path.join(
        environ.get("HOME") or f"/var/tmp/builder-{uid}",  # noqa: S108 - the store is mode 0700
        ".local/share",
    )
    return os.path.join(home, "builder")
