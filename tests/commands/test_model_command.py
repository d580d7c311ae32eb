"""`alti2v model`: what a model takes and gives, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import run
from tests.model.helpers.foreign_taggers import CHARACTERS, FAMILIES, GENERAL
from tests.model.helpers.tiny_wd import write_picture

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


@pytest.mark.parametrize("name", ["wd_v3", "animetimm", "pixai", "oppai_oracle", "by_hand"])
def test_a_model_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The text names size, range and thresholds; the JSON holds the same."""
    FAMILIES[name].write(tmp_path)
    status, text, err = run(capsys, "model", str(tmp_path))
    assert (status, err) == (0, "")
    status, out, _ = run(capsys, "model", str(tmp_path), "--json")
    described = json.loads(out)

    assert status == 0
    assert sum(described["tags"].values()) == len(FAMILIES[name].names) - 2 * (name == "oppai_oracle")
    assert described["input"]["preparation"]["steps"][-1]["width"] == {"animetimm": 384, "by_hand": 96}.get(
        name, 448
    )
    words = {
        "wd_v3": "BGR",
        "animetimm": "14 tags have their own",
        "pixai": "character 0.85",
        "oppai_oracle": "padding_mask, true in the padding",
        "by_hand": "general 0.6",
    }
    assert words[name] in text


def test_a_folder_without_a_model_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and one line."""
    status, out, err = run(capsys, "model", str(tmp_path))

    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def used(lowest: float, highest: float, source: str, *, is_strict: bool = False) -> dict[str, object]:
    """How the JSON names a threshold."""
    return {"lowest": lowest, "highest": highest, "is_strict": is_strict, "source": source}


def option(value: float) -> dict[str, object]:
    """How the JSON names a threshold of the command line."""
    return used(value, value, "--threshold", is_strict=True)


def test_thresholds_are_named_as_written_with_their_true_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A category's from one option, a tag's from another, and the rest from the model's files."""
    model, picture = tmp_path / "model", write_picture(tmp_path / "red.png", "red")
    FAMILIES["pixai"].write(model)
    given = ("--threshold", "character=0.9", "--threshold", "smile=0.7")
    _, out, _ = run(capsys, "tag", str(model), str(picture), "--format", "json", *given)
    expected = {
        "categories": {"general": used(0.3, 0.3, "thresholds.csv"), "character": option(0.9)},
        "tags": {"smile": option(0.7)},
    }
    assert json.loads(out)["thresholds"] == expected
    assert "0.90000" not in out

    _, out, _ = run(capsys, "tag", str(model), str(picture), "--format", "sidecar", *given, "--json")
    assert json.loads(out)["thresholds"] == expected
    _, out, _ = run(capsys, "tag", str(model), str(picture), "--format", "sidecar", "--existing", "overwrite")
    assert "general at least 0.3 (thresholds.csv); character at least 0.85 (thresholds.csv)" in out

    FAMILIES["wd_v3"].write(tmp_path / "wd")
    _, out, _ = run(capsys, "tag", str(tmp_path / "wd"), str(picture), "--format", "json")
    assert json.loads(out)["thresholds"]["categories"]["general"] == used(0.35, 0.35, "the default")
    _, out, _ = run(
        capsys, "tag", str(tmp_path / "wd"), str(picture), "--format", "json", "--threshold-rule", "mcut"
    )
    assert json.loads(out)["thresholds"]["categories"]["general"]["lowest"] is None


def test_tags_pass_at_the_models_own_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tags that pass agree with the thresholds in the JSON: of a tag, a category or an option."""
    model, picture = tmp_path / "model", write_picture(tmp_path / "red.png", "red")
    FAMILIES["animetimm"].write(model)

    def tags(*options: str) -> dict[str, dict[str, Any]]:
        status, out, err = run(capsys, "tag", str(model), str(picture), "--format", "json", *options)
        assert status == 0, err
        found: dict[str, dict[str, Any]] = json.loads(out)
        return found

    every = {name: p for group in tags("--threshold", "0")["tags"].values() for name, p in group.items()}
    limits = {name: 0.35 + 0.01 * i for i, name in enumerate(GENERAL)} | dict.fromkeys(CHARACTERS, 0.7)
    own = tags()
    assert {name for group in own["tags"].values() for name in group} == {
        name for name, p in every.items() if p >= limits[name]
    }
    assert 0 < len(own["tags"]["general"]) < len(GENERAL)
    assert own["thresholds"] == {
        "categories": {
            "general": used(0.35, 0.42, "best_threshold in selected_tags.csv"),
            "character": used(0.7, 0.7, "best_threshold in selected_tags.csv"),
        },
        "tags": {},
    }
    given = tags("--threshold", "0.5", "--threshold", "character=0.25")
    assert given["thresholds"]["categories"] == {"general": option(0.5), "character": option(0.25)}
    assert set(given["tags"]["general"]) == {name for name in GENERAL if every[name] > 0.5}
    by_category = tags("--threshold", "general=0")
    assert set(by_category["tags"]["general"]) == set(GENERAL)
    assert by_category["tags"]["character"] == own["tags"]["character"]
