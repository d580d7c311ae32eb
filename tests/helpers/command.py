"""Commands run in the process of the tests."""

from __future__ import annotations

import pytest

from alti2v.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ending:
        main([str(one) for one in arguments])
    printed = capsys.readouterr()
    assert isinstance(ending.value.code, int)
    return ending.value.code, printed.out, printed.err
