"""The log of a training: rows of log.csv, and one line per epoch for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_LOG_COLUMNS = (
    *("epoch", "step", "loss", "val_loss", "val_map", "val_micro_f1"),
    *("learning_rate", "samples_per_s", "input_wait", "seconds"),
)


def epoch_line(log: Sequence[Mapping[str, Any]], *, epochs: int) -> str:
    """Describe the last epoch in one line."""
    row = log[-1]
    parts = [f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4g}"]
    if row["val_map"] is not None:
        parts.append(validation_figures(row["val_map"], row["val_micro_f1"]))
    parts.append(f"{row['samples_per_s']:,.1f} pictures/s, input wait {row['input_wait']:.1%}")
    return ", ".join(parts)


def validation_figures(mean_ap: float, micro_f1: float) -> str:
    """Return the figures of a validation in words; the mean is over all tags that occur, unlike in a report."""
    return f"validation mAP {mean_ap:.4f} (all tags), micro F1 {micro_f1:.4f}"


def best_network(epoch: int, *, is_averaged: bool = False) -> str:
    """Name the network that a training ended with: an epoch's, the head start (0), or an average with it."""
    if is_averaged:
        return f"average of the head start and {f'epoch {epoch:,}' if epoch else 'the last epoch'}"
    return f"epoch {epoch:,}" if epoch else "head start"


def log_csv(log: Sequence[Mapping[str, float | int | None]]) -> bytes:
    """Return the bytes of log.csv: one row per epoch, 0 for the head start; cells without a value are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_LOG_COLUMNS)
    for row in log:
        writer.writerow("" if row.get(column) is None else f"{row[column]:.6g}" for column in _LOG_COLUMNS)
    return text.getvalue().encode()
