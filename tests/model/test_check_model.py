"""`alti2v export --check` on every family: what it refuses would not work, and what it passes works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alti2v.cli import main
from tests.model.helpers.foreign_taggers import FAMILIES, write_csv, write_network

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


def checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of the check."""
    with pytest.raises(SystemExit) as ending:
        main(["export", "--check", str(folder)])
    printed = capsys.readouterr()
    assert isinstance(ending.value.code, int)
    assert printed.err.count("\n") == (ending.value.code != 0)
    return ending.value.code, printed.out, printed.err


STD_0 = json.dumps(
    {"test": [{"type": "resize", "size": [384, 384]}, {"type": "normalize", "mean": 0.5, "std": 0}], "val": []}
)


@pytest.mark.parametrize(
    ("file", "old", "new", "status", "message"),
    [
        ("thresholds.csv", "0.36", "nan", 4, "thresholds.csv: the threshold 'nan' of category '0'"),
        ("thresholds.csv", "0.36", "1.5", 4, "thresholds.csv: the threshold '1.5' of category '0'"),
        ("thresholds.csv", "threshold", "limit", 4, "thresholds.csv: has no columns category and threshold"),
        ("selected_tags.csv", ",0.36,", ",nan,", 1, "row 1 has a best_threshold outside [0, 1]"),
        ("preprocess.json", None, STD_0, 4, "has the std 0"),
        ("preprocess.json", '"val"', '"valid"', 1, "preprocess.json: has no list 'val': imgutils reads both"),
        ("categories.json", '"category": 4', '"category": 5', 1, "does not name the category 4"),
        ("categories.json", None, "{}", 4, "categories.json: is not a JSON list"),
    ],
)
def test_files_beside_the_table_are_checked(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str | None,
    new: str,
    status: int,
    message: str,
) -> None:
    """A threshold that is no share, a division by zero, a missing category: 4 if it fails here, else 1."""
    FAMILIES["animetimm"].write(tmp_path)
    assert checked(tmp_path, capsys)[0] == 0
    text = (tmp_path / file).read_text()
    assert old is None or old in text
    (tmp_path / file).write_text(new if old is None else text.replace(old, new, 1))
    found, out, err = checked(tmp_path, capsys)

    assert found == status, err
    assert message in out + err


@pytest.mark.parametrize("name", ["camie", "oppai_oracle", "ml_danbooru", "by_hand"])
def test_families_without_a_contract_are_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Families without a published contract pass if they work in this program."""
    FAMILIES[name].write(tmp_path)

    assert checked(tmp_path, capsys)[0] == 0


def test_z3d_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Z3D's table has another name and e621's numbers, so WD's contract does not apply."""
    write_network(tmp_path / "model.onnx", 2, side=64, channels_first=False, is_wide=True)
    columns = ("tag_id", "name", "category", "count")
    write_csv(tmp_path / "tags-selected.csv", columns, [(1, "solo", 0, 9), (2, "canine", 5, 9)])
    assert checked(tmp_path, capsys)[0] == 0
    write_csv(tmp_path / "tags-selected.csv", columns, [(1, "solo", 0, 9)])

    status, _, err = checked(tmp_path, capsys)
    assert status == 4
    assert "1 rows for 2 outputs" in err


def test_what_is_not_read_is_refused_with_the_place_to_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights alone are no export that lost its model."""
    (tmp_path / "model.safetensors").write_text("{}")
    (tmp_path / "selected_tags.csv").write_text("tag_id,name,category,count\n1,a,0,1\n")
    status, _, err = checked(tmp_path, capsys)

    assert status == 2
    assert "get model.onnx from the same repository" in err


def test_a_report_of_another_program_makes_no_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a report that an export has written says that exporting again would help."""
    FAMILIES["wd_v14"].write(tmp_path)  # takes one picture at a time, which breaks the contract
    for report, status in (('{"kind": "export"}', 4), ('{"kind": "sales"}', 1), ("[1]", 1), ("{", 4)):
        (tmp_path / "export_report.json").write_text(report)
        found, _, err = checked(tmp_path, capsys)
        assert (found, "export it again" in err) == (status, status == 4)
