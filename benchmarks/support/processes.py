"""Processor time and memory of Linux processes, and servers that run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def peak_rss_mb(pid: int | None = None) -> float:
    """Peak memory of a process, by default of this one, MB.

    Not by getrusage, whose ru_maxrss of a child starts at that of the process that began it.
    """
    status = Path(f"/proc/{'self' if pid is None else pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def children(pid: int) -> list[int]:
    """Child processes of all threads of a process."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@contextmanager
def running_server(command: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Run a server that prints its URL and stops at the end of its standard input; yield URL and process id."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), server.pid
        finally:
            server.stdin.close()


def stand_in_board(posts: int, dialect: str) -> list[str]:
    """Command that runs the stand-in board, for `running_server`."""
    command = [sys.executable, "-m", "alti2v", "board", "--until-eof", "--posts", str(posts)]
    return [*command, "--dialect", dialect]
