"""The crawl as a command in a separate process, to be interrupted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.crawl.helpers.scripted_board import ScriptedBoard

# A test suite started in the background inherits an ignored SIGINT, and Python would keep ignoring it.
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import alti2v.cli as c; c.main()"
)


@contextlib.contextmanager
def start(site: ScriptedBoard, store: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a separate process; kill it at the end if it still runs."""
    rates = ["--rate", "inf", "--api-rate", "inf", "--connections", "2"]
    arguments = ["crawl", str(store), "--board", site.url, "--allow-private", *rates, *options]
    command = [sys.executable, "-c", COMMAND, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
