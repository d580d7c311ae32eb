"""The log file of a store, and the record of its last run.

The log has one line per event, and a maximum size. Errors in writing it are ignored: a full disk stops the
crawl elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import logging.handlers
import math
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v import __version__
from alti2v.crawl.store.ledger import Ledger
from alti2v.crawl.store.ledger.outcomes import PostCounts
from alti2v.crawl.store.ledger.state import StateKey
from alti2v.crawl.store.writer import FileResult, MissingFile
from alti2v.errors import DamagedError, StorageError
from alti2v.records import Status
from alti2v.storage.documents import from_json
from alti2v.storage.layout import CRAWL_LOG_BACKUPS, CRAWL_LOG_FILE

_LOG_BYTES = 5_000_000  # then the file becomes crawl.log.1, and so on


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """Record of the last run of a crawl.

    Attributes:
        begun_at, ended_at: Times in unix seconds; `ended_at` is None while it runs, and after a kill.
        stored_before: Files in the store when it began.
        limit: Number of posts that it was to list; None for all.
        ending: "complete", "incomplete: …", "interrupted" or "failed: …"; "" if it has not ended.
    """

    begun_at: int
    stored_before: int
    ended_at: int | None = None
    limit: int | None = None
    ending: str = ""


class _Quiet(logging.handlers.RotatingFileHandler):
    """A log handler that ignores its errors."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Skip this line."""


class _OneLine(logging.Formatter):
    """Format time in UTC and message; text from a board cannot start a line of its own."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        text = super().format(record)
        return "".join(char if char.isprintable() else " " for char in text)


@contextlib.contextmanager
def open_log(store: Path) -> Iterator[logging.Logger]:
    """Open the log file of a store, which is created with its first line."""
    log = logging.Logger("alti2v.crawl")  # noqa: LOG001 - one per store, not registered globally
    handler = _Quiet(
        store / CRAWL_LOG_FILE, maxBytes=_LOG_BYTES, backupCount=CRAWL_LOG_BACKUPS, encoding="utf-8", delay=True
    )
    handler.setFormatter(_OneLine("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S"))
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


def begin_run(ledger: Ledger, log: logging.Logger, config: Any) -> LastRun:  # noqa: ANN401 - a dataclass
    """Record the start of a run, and log the options that differ from the defaults."""
    run = LastRun(
        begun_at=int(time.time()),
        stored_before=ledger.posts.counts().stored,
        limit=getattr(config, "limit", None),
    )
    ledger.state.commit(StateKey.LAST_RUN, json.dumps(dataclasses.asdict(run)))
    options = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name == "board" or getattr(config, field.name) != field.default
    }
    options.pop("retry", None)
    log.info("begin: alti2v %s, %s", __version__, ", ".join(f"{k} {_plain(v)}" for k, v in options.items()))
    return run


def end_run(ledger: Ledger, log: logging.Logger, run: LastRun, ended: str | BaseException) -> None:
    """Record the end of a run: a description, or the exception that ended it."""
    match ended:
        case str():
            ending = ended
        case KeyboardInterrupt():
            ending = "interrupted"
        case _:
            ending = f"failed: {ended}"
    finished = dataclasses.replace(run, ended_at=int(time.time()), ending=ending)
    sums = ""
    with contextlib.suppress(StorageError, DamagedError):  # the run may have ended for this reason
        ledger.state.commit(StateKey.LAST_RUN, json.dumps(dataclasses.asdict(finished)))
        counts = ledger.posts.counts()
        sums = ", ".join(f"{name} {count:,}" for name, count in outcomes(counts).items())
    log.info("end: %s; %s", ending, sums)


def log_failures(log: logging.Logger, batch: Iterable[FileResult]) -> None:
    """Log a line for each failed post of a batch."""
    for result in batch:
        if isinstance(result, MissingFile) and result.outcome.status is Status.FAILED:
            outcome = result.outcome
            begins_with_kind = f"{outcome.error}: ".startswith(f"{outcome.reason}: ")  # those of aiohttp do
            said = outcome.error if begins_with_kind else f"{outcome.reason}: {outcome.error}"
            log.info("failed: post %d, %s", result.pending.post.id, said)


def last_run(ledger: Ledger) -> LastRun | None:
    """Return the record of the last run; None before the first, or if it is none that a run wrote."""
    try:
        return from_json(LastRun, json.loads(ledger.state.get(StateKey.LAST_RUN) or "null"))
    except (ValueError, RecursionError):
        return None


def outcomes(counts: PostCounts) -> Mapping[str, int]:
    """Return counts by name, in the order of display; the first, "listed", is the sum of the others."""
    return {
        "listed": counts.listed,
        "stored": counts.stored,
        "duplicate": counts.duplicate,
        **{f"skipped {reason}": count for reason, count in counts.skipped.items()},
        **{f"failed {kind}": count for kind, count in counts.failed.items()},
        "pending": counts.pending,
    }


def _plain(value: object) -> str:
    """Write the value of an option as text; parts of a list have spaces between them."""
    match value:
        case str() | Path():
            return shlex.quote(str(value))
        case list() | tuple():
            return " ".join(map(_plain, value))
        case bool():
            return "yes" if value else "no"
    return "no limit" if value == math.inf else str(value)
