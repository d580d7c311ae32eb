"""The tables of the ledger, in SQL."""

from __future__ import annotations

PART_ROWS = 50_000  # posts per Parquet part, about 15 MB
SCHEMA_VERSION = 5
# A column for each fact: one JSON text took 25 of the 91 us that listing a post took. Tags stay in the board's
# order: sorting them takes as long as all else in reading a post, and only tables and post JSON need it.
_SCHEMA = """
CREATE TABLE posts (                  -- the columns of posts.parquet; those of a Post from id to sample_url
    seq INTEGER PRIMARY KEY,          -- order of listing; seq / 50000 is the Parquet part
    id INTEGER NOT NULL UNIQUE,
    tags_general TEXT NOT NULL, tags_artist TEXT NOT NULL, tags_copyright TEXT NOT NULL,
    tags_character TEXT NOT NULL, tags_meta TEXT NOT NULL, tags_unknown TEXT NOT NULL,
    rating TEXT NOT NULL,
    score INTEGER,
    source TEXT NOT NULL,
    parent_id INTEGER,
    created_at INTEGER, changed_at INTEGER,
    width INTEGER NOT NULL, height INTEGER NOT NULL,
    md5 TEXT,
    file_ext TEXT NOT NULL,
    board_status TEXT NOT NULL,
    file_url TEXT, sample_url TEXT,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    http_status INTEGER,
    duplicate_of INTEGER,
    fetched_url TEXT,
    tar INTEGER, offset INTEGER, size INTEGER,
    stored_format TEXT, stored_width INTEGER, stored_height INTEGER, stored_md5 TEXT, stored_crc32 INTEGER
);
CREATE INDEX pending_posts ON posts (seq) WHERE status = 'pending';
CREATE INDEX failed_posts ON posts (reason) WHERE status = 'failed';
CREATE INDEX stored_bytes ON posts (stored_md5) WHERE status = 'stored';
CREATE INDEX stored_places ON posts (tar) WHERE status = 'stored';
CREATE INDEX duplicates ON posts (duplicate_of) WHERE duplicate_of IS NOT NULL;
CREATE TABLE outcomes (               -- posts by status and reason, kept up to date so that status is instant
    status TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (status, reason)
);
CREATE TABLE dirty_parts (part INTEGER PRIMARY KEY);
CREATE TABLE tars (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, sealed INTEGER NOT NULL);
CREATE TABLE tags (                   -- answers of the board's tag API, requested once and kept
    name TEXT PRIMARY KEY, category TEXT NOT NULL, board_count INTEGER
);
CREATE TABLE history (                -- each time that a listed post had other tags than before
    id INTEGER NOT NULL, seen_at INTEGER NOT NULL, added TEXT NOT NULL, removed TEXT NOT NULL
);
CREATE TABLE replaced (               -- files that posts had before the board replaced them
    id INTEGER NOT NULL, seen_at INTEGER NOT NULL, md5 TEXT, file_url TEXT, fetched_url TEXT,
    tar INTEGER, offset INTEGER, size INTEGER,
    stored_format TEXT, stored_width INTEGER, stored_height INTEGER, stored_md5 TEXT
);
CREATE TABLE items (                  -- imported files that came without an id, so that none is read twice
    name TEXT PRIMARY KEY,            -- relative URL reference: source and path in it
    id INTEGER NOT NULL,              -- post with its bytes
    version TEXT NOT NULL,            -- size and time of the file
    is_first INTEGER NOT NULL         -- 0 if another item with the same bytes was imported before
) WITHOUT ROWID;
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
-- New posts are counted once per page (PostTable.add): a trigger would take longer than inserting them.
CREATE TRIGGER count_changed AFTER UPDATE ON posts BEGIN
    UPDATE outcomes SET count = count - 1, bytes = bytes - coalesce(old.size, 0)
    WHERE status = old.status AND reason = old.reason;
    INSERT INTO outcomes VALUES (new.status, new.reason, 1, coalesce(new.size, 0))
    ON CONFLICT DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes;
    INSERT OR IGNORE INTO dirty_parts VALUES (new.seq / {part_rows});
END;
"""
SCHEMA = _SCHEMA.format(part_rows=PART_ROWS)
