"""Files named in an option are read, and pipes without a writer are refused at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alti2v.crawl.netrc_file import read_api_key
from alti2v.dataset.id_file import read_ids
from alti2v.dataset.plan_options import read_tags
from alti2v.demo.board.faults import read_faults
from alti2v.errors import UsageError
from alti2v.kpi.csv_table import read_kpi_table
from alti2v.storage.documents import open_named


def _key(path: Path) -> object:
    path.chmod(0o600)
    return read_api_key(path, base="https://board.example", machines=("board.example",))


READERS: dict[str, Callable[[Path], object]] = {
    "ids": read_ids,
    "tags": read_tags,
    "kpi": read_kpi_table,
    "faults": read_faults,
    "netrc": _key,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_refused_and_not_waited_for(reader: str, tmp_path: Path) -> None:
    """A named pipe without a writer, and a folder, are one line each."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError) as caught:
            READERS[reader](tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_device_and_a_file_that_fills_the_memory_are_refused(tmp_path: Path) -> None:
    """`/dev/zero` has no end, and a sparse file of 8 TiB costs its owner nothing."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 43)
    for path, reason in ((Path("/dev/zero"), "not a file"), (tmp_path / "sparse", "File too large")):
        with pytest.raises(OSError, match=reason):
            open_named(path)


@pytest.mark.parametrize("given", ["<(printf '1\\n2\\n')", "/dev/stdin"])
def test_what_a_shell_pipes_is_read(given: str) -> None:
    """`--ids <(command)` and `command | ... --ids /dev/stdin` go on working."""
    code = "import sys; from pathlib import Path; from alti2v.dataset.id_file import read_ids; " + (
        "print(*read_ids(Path(sys.argv[1])))"
    )
    command = f'printf "1\\n2\\n" | {sys.executable} -c "$0" {given}'
    finished = subprocess.run(["/bin/bash", "-c", command, code], capture_output=True, text=True, check=False)

    assert (finished.stdout, finished.stderr) == ("1 2\n", "")
