"""Arguments and options that take local paths refuse a URL."""

from __future__ import annotations

from typing import Any

import pytest

from alti2v.cli import main


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("status", "s3://bucket/store"), "STORE"),
        (("verify", "dataset", "--repair", "s3://bucket/store"), "--repair"),
        (("kpi", "s3://bucket/dataset", "--out", "kpi"), "DATASET"),
        (("remove", "dataset", "--ids", "https://example.org/ids"), "--ids"),
        (("tag", "s3://bucket/model", "picture.png"), "MODEL"),
    ],
)
def test_a_url_is_named_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Any, named: Any
) -> None:
    """One line says which of the arguments it was, and what to do."""
    monkeypatch.setattr("sys.argv", ["alti2v", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()

    url = next(argument for argument in arguments if "://" in argument)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"alti2v: {url} is a URL, and {named} has to be on this machine: copy it here first\n"
    )
