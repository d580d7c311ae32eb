"""What a crawl leaves to be read later: the log file of a store, and how its last run went.

The log has one line per event and is bounded in size. A full disk stops the crawl elsewhere, never here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import logging.handlers
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v import __version__
from alti2v.crawl.config import CrawlConfig, CrawlReport
from alti2v.crawl.store.ledger import Ledger, PostCounts
from alti2v.crawl.store.writer import Lost, Settlement
from alti2v.errors import DamagedError, StorageError
from alti2v.records import Status
from alti2v.storage.layout import CRAWL_LOG_BACKUPS, CRAWL_LOG_FILE

_LOG_BYTES = 5_000_000  # then a second file, crawl.log.1, and so on
_STATE = "last_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """How the last run of a crawl went.

    Attributes:
        begun_at, ended_at: unix seconds; `ended_at` is None while it runs, and after a kill.
        ending: "complete", "incomplete: …", "interrupted" or "failed: …"; "" without an end.
        stored_before: files in the store when it began.
    """

    begun_at: int
    stored_before: int
    ended_at: int | None = None
    ending: str = ""


class _Quiet(logging.handlers.RotatingFileHandler):
    """Says nothing when it cannot write."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Go on without this line."""


class _OneLine(logging.Formatter):
    """Time in UTC, then the message; whatever a board sent cannot begin a line of its own."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        text = super().format(record)
        return "".join(char if char.isprintable() else " " for char in text)


@contextlib.contextmanager
def open_log(store: Path) -> Iterator[logging.Logger]:
    """A logger that writes into a store's log file; the file is made with its first line."""
    log = logging.Logger("alti2v.crawl")  # noqa: LOG001 - one store's own, in no global register
    handler = _Quiet(
        store / CRAWL_LOG_FILE, maxBytes=_LOG_BYTES, backupCount=CRAWL_LOG_BACKUPS, encoding="utf-8", delay=True
    )
    handler.setFormatter(_OneLine("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S"))
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


def begin_run(ledger: Ledger, log: logging.Logger, config: CrawlConfig) -> LastRun:
    """Write down that a run begins, and with which options."""
    run = LastRun(begun_at=int(time.time()), stored_before=ledger.counts().stored)
    with ledger.transaction():
        ledger.set_state(_STATE, json.dumps(dataclasses.asdict(run)))
    options = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name == "board" or getattr(config, field.name) != field.default
    }
    options.pop("retry", None)
    log.info("begin: alti2v %s, %s", __version__, ", ".join(f"{k} {_plain(v)}" for k, v in options.items()))
    return run


def end_run(ledger: Ledger, log: logging.Logger, run: LastRun, ended: CrawlReport | BaseException) -> None:
    """Write down how a run ended: with a report, or because of an exception."""
    match ended:
        case CrawlReport(complete=True):
            ending = "complete"
        case CrawlReport():
            ending = f"incomplete: {ended.missing}"
        case KeyboardInterrupt():
            ending = "interrupted"
        case _:
            ending = f"failed: {ended}"
    finished = dataclasses.replace(run, ended_at=int(time.time()), ending=ending)
    sums = ""
    with contextlib.suppress(StorageError, DamagedError):  # what ended the run may be just that
        with ledger.transaction():
            ledger.set_state(_STATE, json.dumps(dataclasses.asdict(finished)))
        counts = ledger.counts()
        sums = ", ".join(f"{name} {count:,}" for name, count in outcomes(counts).items())
    log.info("end: %s; %s", ending, sums)


def log_failures(log: logging.Logger, batch: Iterable[Settlement]) -> None:
    """One line for each post of a batch that failed."""
    for settlement in batch:
        if isinstance(settlement, Lost) and settlement.outcome.status is Status.FAILED:
            outcome = settlement.outcome
            log.info("failed: post %d, %s: %s", settlement.pending.post.id, outcome.reason, outcome.error)


def last_run(ledger: Ledger) -> LastRun | None:
    """The record of the last run; None if there was none."""
    text = ledger.state(_STATE)
    return None if text is None else LastRun(**json.loads(text))


def outcomes(counts: PostCounts) -> Mapping[str, int]:
    """The outcomes by name, in the order of display; they add up to the first, "listed"."""
    return {
        "listed": counts.listed,
        "stored": counts.stored,
        "duplicate": counts.duplicate,
        **{f"skipped {reason}": count for reason, count in counts.skipped.items()},
        **{f"failed {kind}": count for kind, count in counts.failed.items()},
        "pending": counts.pending,
    }


def _plain(value: object) -> object:
    return repr(value) if isinstance(value, str) else "no limit" if value == math.inf else value
