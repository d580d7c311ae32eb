"""Tags at the very edge of a threshold: the command, the page and the HTTP API say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alti2v.cli import main
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.serving.config import UploadLimits
from alti2v.serving.handlers import Handlers
from alti2v.serving.view import analyse, default_thresholds, moved_thresholds, select_tags, slider_values
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


class RefusalError(ValueError):
    """Replacement of `gradio.Error`."""

    def __init__(self, message: str, *, print_exception: bool) -> None:
        super().__init__(message)
        assert not print_exception


GRADIO = SimpleNamespace(Dropdown=lambda *names, **_: list(*names), Error=RefusalError)


def write_model(folder: Path, threshold: float, *, is_own: bool) -> Path:
    """Write a model that answers one float32 below the threshold, exactly at it, and one above it."""
    edge = np.float32(threshold)
    answers = {
        "below": np.nextafter(edge, np.float32(0)),
        "at": edge,
        "above": np.nextafter(edge, np.float32(1)),
    }
    write_wd_folder(
        folder,
        tags={name: (0, float(value), (0.0, 0.0, 0.0)) for name, value in answers.items()},
        with_sigmoid=False,
    )
    if is_own:
        (folder / "export_report.json").write_text(json.dumps({"threshold": threshold}))
    return folder


def handlers(tagger: Tagger) -> Handlers:
    return Handlers(gradio=GRADIO, tagger=tagger, index=None, count=1, limits=UploadLimits())


def by_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    with pytest.raises(SystemExit) as ending:
        main(["tag", *map(str, arguments), "--format", "json"])
    assert ending.value.code == 0
    return sorted(json.loads(capsys.readouterr().out)["tags"]["general"])


def by_page(tagger: Tagger, picture: Path) -> list[str]:
    sliders = slider_values(default_thresholds(tagger)).values()
    answers = handlers(tagger).on_picture(str(picture), *sliders)
    return sorted(re.findall(r'<li data-tag="(\w+)"', answers[2]))


def by_api(tagger: Tagger, picture: Path, thresholds: dict[str, float] | None = None) -> list[str]:
    return sorted(handlers(tagger).tag(str(picture), thresholds)["tags"]["general"])


@pytest.mark.parametrize(
    ("threshold", "is_own"),
    [(0.35, False), (0.35, True), (0.3, True), (0.42, True), (0.391104459, True), (0.0123456, True)],
)
def test_command_page_and_api_agree_at_the_default_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], threshold: float, is_own: bool
) -> None:
    """Without options a tag passes at the model's threshold, not below, wherever it is asked for."""
    folder = write_model(tmp_path / "model", threshold, is_own=is_own)
    picture = write_picture(tmp_path / "red.png", "red")
    tagger = load_tagger(folder)

    assert tagger.threshold == (threshold if is_own else None)
    assert by_command(capsys, folder, picture) == ["above", "at"]
    assert by_page(tagger, picture) == ["above", "at"]
    assert by_api(tagger, picture) == ["above", "at"]


@pytest.mark.parametrize("threshold", [0.3, 0.35, 0.42])
def test_a_given_threshold_means_what_its_documentation_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], threshold: float
) -> None:
    """`--threshold P` promises more than P; a threshold sent to the API is the least that passes."""
    folder = write_model(tmp_path / "model", threshold, is_own=False)
    picture = write_picture(tmp_path / "red.png", "red")

    assert by_command(capsys, folder, picture, "--threshold", threshold) == ["above"]
    assert by_command(capsys, folder, picture, "--threshold", f"general={threshold}") == ["above"]
    assert by_command(capsys, folder, picture, "--threshold", 0.9, "--threshold", f"at={threshold}") == []
    assert by_api(load_tagger(folder), picture, {"general": threshold}) == ["above", "at"]


@pytest.mark.parametrize("threshold", [0.391104459, 0.35, 0.0123456, 1 / 3, 0.9999999])
def test_page_shows_thresholds_with_three_digits(tmp_path: Path, threshold: float) -> None:
    """Of a threshold with nine digits the page shows three; untouched, it means the nine."""
    tagger = load_tagger(write_model(tmp_path / "model", threshold, is_own=True))
    shown = slider_values(default_thresholds(tagger))["general"]

    assert len(f"{shown!r}".partition(".")[2]) <= 3
    assert shown == pytest.approx(threshold, abs=0.0005)


def test_a_moved_slider_means_what_it_shows() -> None:
    """The rounded number on an untouched slider means the model's own thresholds; others mean themselves."""
    defaults = {"general": 0.391104459, "character": 0.391104459}

    assert slider_values(defaults) == {"general": 0.391, "character": 0.391}
    assert moved_thresholds([0.391, 0.39], defaults) == {"character": 0.39}


def test_wrong_requests_are_answered_in_one_line(tmp_path: Path) -> None:
    """No picture, no such category, and thresholds that are not numbers by category."""
    tagger = load_tagger(write_model(tmp_path / "model", 0.5, is_own=False))
    picture = str(write_picture(tmp_path / "red.png", "red"))
    wrong: list[tuple[str | None, Any, str]] = [
        (None, None, "no picture was sent"),
        (picture, {"generl": 0.5}, "category 'generl' is unknown"),
        (picture, {"general": 2}, "is not in"),
        (picture, {"general": "half"}, "thresholds are an object"),
        (picture, [0.5], "thresholds are an object"),
    ]
    for path, thresholds, words in wrong:
        with pytest.raises(ValueError, match=words) as refusal:
            handlers(tagger).tag(path, thresholds)
        assert "\n" not in str(refusal.value)


def test_page_answers_every_event(tmp_path: Path) -> None:
    """A picture, none, a damaged one, a moved slider, a tag: each event fills the components it is bound to."""
    tagger = load_tagger(write_model(tmp_path / "model", 0.5, is_own=False))
    page = handlers(tagger)
    state, view, tags, prompt, names, similar = page.on_picture(
        str(write_picture(tmp_path / "red.png", "red")), 0.1
    )

    assert state.probabilities.shape == (3,)
    assert 'src="data:image/jpeg' in view
    assert (prompt, names, similar) == ("above, at, below", ["above", "at", "below"], "")
    assert page.on_thresholds(state, 0.1)[0] == tags
    assert page.on_thresholds(state, 1.0)[1] == ""
    assert page.on_thresholds(None, 0.1) == ("", "", [])
    assert page.on_picture(None, 0.1) == (None, "", "", "", [], "") or page.on_picture(None, 0.1)[0] is None
    assert "No part of the picture supports at (occlusion)." in page.on_tag(state, "at")
    assert page.on_tag(state, None) == view
    assert page.on_tag(None, "at") == ""
    letter = tmp_path / "letter.png"
    letter.write_text("Dear reader")
    assert "not a JPEG, PNG, GIF, WebP or AVIF picture" in page.on_picture(str(letter), 0.1)[1]


def test_default_threshold_of_the_page_needs_no_command(tmp_path: Path) -> None:
    """`default_thresholds` with `select_tags` alone keeps a tag that is exactly at 0.35."""
    tagger = load_tagger(write_model(tmp_path / "model", 0.35, is_own=False))
    picture = analyse(tagger, write_picture(tmp_path / "red.png", "red").read_bytes(), UploadLimits())
    selected = select_tags(picture.probabilities, tagger.vocabulary, default_thresholds(tagger))

    assert [tag.name for tag in selected.groups["general"]] == ["above", "at"]
