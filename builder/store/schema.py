"""The tables of the database, and how an older version becomes the current one."""

VERSION = 2

_SHARED = "CREATE INDEX snapshots_by_origin ON snapshots (same_as) WHERE same_as IS NOT NULL"

STATEMENTS = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: the number of a dropped snapshot is never given to another one.
    """CREATE TABLE snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        parent INTEGER,
        depth INTEGER NOT NULL,
        is_committed INTEGER NOT NULL DEFAULT 0,
        owner TEXT NOT NULL,
        is_patch INTEGER NOT NULL DEFAULT 0,
        same_as INTEGER,
        diff_id TEXT,
        name TEXT NOT NULL DEFAULT '',
        size_bytes INTEGER,
        created_s INTEGER NOT NULL,
        last_used_s INTEGER NOT NULL)""",
    "CREATE INDEX snapshots_by_parent ON snapshots (parent)",
    _SHARED,
    "CREATE INDEX snapshots_open ON snapshots (is_committed) WHERE is_committed = 0",
    "CREATE TABLE chains (chain_id TEXT PRIMARY KEY, snapshot INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX chains_by_snapshot ON chains (snapshot)",
    """CREATE TABLE layers (
        diff_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        compression TEXT NOT NULL,
        level INTEGER,
        is_pulled INTEGER NOT NULL,
        PRIMARY KEY (diff_id, digest)) WITHOUT ROWID""",
    """CREATE TABLE records (
        key TEXT PRIMARY KEY,
        slow TEXT NOT NULL,
        snapshot INTEGER,
        extra BLOB NOT NULL,
        name TEXT NOT NULL,
        created_s INTEGER NOT NULL,
        last_used_s INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX records_by_snapshot ON records (snapshot)",
    """CREATE TABLE steps (
        step TEXT PRIMARY KEY,
        slow TEXT NOT NULL,
        name TEXT NOT NULL,
        parts TEXT NOT NULL,
        time_s INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE memos (
        key BLOB PRIMARY KEY,
        value BLOB NOT NULL,
        last_used_s INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE images (
        digest TEXT PRIMARY KEY,
        media_type TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        image_id TEXT NOT NULL,
        platform TEXT NOT NULL,
        created_s INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX images_by_id ON images (image_id)",
    """CREATE TABLE tags (
        name TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        tagged_s INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX tags_by_digest ON tags (digest)",
    """CREATE TABLE sources (
        name TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        checked_s INTEGER NOT NULL,
        last_used_s INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE pins (
        owner TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (owner, kind, name)) WITHOUT ROWID""",
    "CREATE INDEX pins_by_name ON pins (kind, name)",
    """CREATE TABLE cache_mounts (
        hash TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        namespace TEXT NOT NULL,
        created_s INTEGER NOT NULL,
        last_used_s INTEGER NOT NULL) WITHOUT ROWID""",
)

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE snapshots ADD COLUMN is_patch INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE snapshots ADD COLUMN same_as INTEGER",
        _SHARED,
    ),
}
"""From each older version, the statements that lead to the next."""
