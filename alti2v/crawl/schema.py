"""The tables of the ledger, in SQL."""

from __future__ import annotations

PART_ROWS = 50_000  # posts in one Parquet part, about 15 MB
SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE posts (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL UNIQUE,      -- the order of listing; seq / 50000 is the Parquet part
    facts TEXT NOT NULL,              -- documents.post_document
    status TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    http_status INTEGER,
    duplicate_of INTEGER,
    fetched_url TEXT,
    tar INTEGER, offset INTEGER, size INTEGER,
    format TEXT, width INTEGER, height INTEGER, md5 TEXT
);
CREATE INDEX pending_posts ON posts (seq) WHERE status = 'pending';
CREATE INDEX failed_posts ON posts (reason) WHERE status = 'failed';
CREATE INDEX stored_bytes ON posts (md5) WHERE status = 'stored';
CREATE INDEX stored_places ON posts (tar) WHERE status = 'stored';
CREATE INDEX duplicates ON posts (duplicate_of) WHERE duplicate_of IS NOT NULL;
CREATE TABLE outcomes (               -- posts by status and reason, kept by triggers: status is instant
    status TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (status, reason)
);
CREATE TABLE dirty_parts (part INTEGER PRIMARY KEY);
CREATE TABLE tars (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, sealed INTEGER NOT NULL);
CREATE TABLE tags (                   -- what the board's tag API said, asked once and kept
    name TEXT PRIMARY KEY, category TEXT NOT NULL, board_count INTEGER
);
CREATE TABLE history (                -- each time that a post was seen with other tags than before
    id INTEGER NOT NULL, seen_at INTEGER NOT NULL, added TEXT NOT NULL, removed TEXT NOT NULL
);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TRIGGER count_new AFTER INSERT ON posts BEGIN
    INSERT INTO outcomes VALUES (new.status, new.reason, 1, coalesce(new.size, 0))
    ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
    INSERT OR IGNORE INTO dirty_parts VALUES (new.seq / {part_rows});
END;
CREATE TRIGGER count_changed AFTER UPDATE ON posts BEGIN
    UPDATE outcomes SET count = count - 1, bytes = bytes - coalesce(old.size, 0)
    WHERE status = old.status AND reason = old.reason;
    INSERT INTO outcomes VALUES (new.status, new.reason, 1, coalesce(new.size, 0))
    ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
    INSERT OR IGNORE INTO dirty_parts VALUES (new.seq / {part_rows});
END;
"""
SCHEMA = _SCHEMA.format(part_rows=PART_ROWS)
