"""KPI report: kpi.json and a self-contained page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from alti2v.kpi.regression import KpiReport
from alti2v.report.rendering import render
from alti2v.storage.publish import make_directory, publish_bytes, publish_json

JSON_FILE = "kpi.json"
PAGE_FILE = "report.html"


def write_kpi_report(report: KpiReport, out: Path) -> None:
    """Publish both files, the page last.

    Raises:
        StorageError: The file system refuses.
    """
    make_directory(out)
    publish_json(out / JSON_FILE, {**asdict(report), "dataset": str(report.dataset)})
    publish_bytes(out / PAGE_FILE, render("kpi.html", report=report).encode())
