"""Contents of the page without the page: the tags of `alti2v tag`, a prompt, heat maps, limits."""

from __future__ import annotations

import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.commands.serve import serve
from alti2v.errors import DataError, UsageError
from alti2v.model.options.tagging import TagConfig
from alti2v.model.tag import tag_files
from alti2v.model.tagging.heatmap import HeatMap, Method
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.model.vocabulary import make_vocabulary
from alti2v.report.rendering import render
from alti2v.serving.app import one_at_a_time
from alti2v.serving.config import ServeConfig, UploadLimits
from alti2v.serving.view import analyse, default_thresholds, draw_heat_map, page_title, select_tags
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

VOCABULARY = make_vocabulary(
    [
        ("safe", "rating"),
        ("explicit", "rating"),
        ("long_hair", "general"),
        ("^_^", "general"),
        ("saber_(fate)", "character"),
    ]
)
CUT = b"\xff\xd8\xff\xe0 and no more"
PROBABILITIES = np.array([0.9, 0.2, 0.7, 0.8, 0.6], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")
    return write_wd_folder(tmp_path_factory.mktemp("wd"))


@pytest.fixture(scope="module")
def tagger(folder: Path) -> Tagger:
    return load_tagger(folder)


def test_selection_lists_what_passes_by_category() -> None:
    """The most probable first; ratings whole; faces keep their underscores and parentheses are escaped."""
    selected = select_tags(PROBABILITIES, VOCABULARY, {"general": 0.5, "character": 0.5})

    assert {name: [tag.name for tag in tags] for name, tags in selected.groups.items()} == {
        "general": ["^_^", "long_hair"],
        "character": ["saber_(fate)"],
    }
    assert selected.ratings == (("safe", 0.9), ("explicit", 0.2))
    assert selected.prompt == r"^_^, long hair, saber \(fate\)"


def test_each_category_has_its_threshold() -> None:
    """A tag passes from the threshold of its category on; a category that is not named shows nothing."""
    selected = select_tags(PROBABILITIES, VOCABULARY, {"general": 0.75})

    assert {name: [tag.name for tag in tags] for name, tags in selected.groups.items()} == {
        "general": ["^_^"],
        "character": [],
    }


def test_requests_take_turns_at_the_network(tagger: Tagger) -> None:
    """Of requests from several threads, one batch at a time is in the network."""
    inside, most = 0, 0

    def forward(images: np.ndarray) -> tuple[np.ndarray, None]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        inside -= 1
        return np.zeros((len(images), 1), np.float32), None

    shared = one_at_a_time(replace(tagger, forward=forward))
    batch = np.zeros((1, 8, 8, 3), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: shared.forward(batch), range(8)))

    assert most == 1


def test_thresholds_are_checked() -> None:
    """No such category, and no such probability."""
    with pytest.raises(UsageError, match="category 'generl' is unknown"):
        select_tags(PROBABILITIES, VOCABULARY, {"generl": 0.5})
    with pytest.raises(UsageError, match=re.escape("threshold 1.5 is not in [0, 1]")):
        select_tags(PROBABILITIES, VOCABULARY, {"general": 1.5})


def test_page_shows_what_the_command_prints(folder: Path, tagger: Tagger, tmp_path: Path) -> None:
    """Without touching a slider, the page's tags are those of `alti2v tag` without options."""
    picture = write_picture(tmp_path / "red.png", "red")
    printed: list[Any] = []
    tag_files(TagConfig(model=folder, paths=(str(picture),)), show=printed.append)
    picture_seen = analyse(tagger, picture.read_bytes(), UploadLimits())
    selected = select_tags(picture_seen.probabilities, tagger.vocabulary, default_thresholds(tagger))

    assert printed[0].tags
    assert sorted(tag for group in selected.groups.values() for tag in map(repr, group)) == sorted(
        map(repr, printed[0].tags)
    )
    assert selected.ratings == printed[0].ratings


def test_model_without_a_threshold_starts_where_the_command_does(tagger: Tagger) -> None:
    """0.35 for every category but the rating."""
    assert default_thresholds(tagger) == {"general": 0.35, "character": 0.35}


@pytest.mark.parametrize(
    ("limits", "content", "words"),
    [
        (UploadLimits(megabytes=0.0001), None, "this file has 0.0 MB, and at most 0.0001 MB are allowed"),
        (
            UploadLimits(megapixels=0.003),
            None,
            "this picture has 0.0 million pixels, and at most 0.003 million are allowed",
        ),
        (UploadLimits(), CUT, "this file cannot be used: damaged: it cannot be decoded"),
        (
            UploadLimits(),
            b"MZ an executable",
            "this file cannot be used: not a JPEG, PNG, GIF, WebP or AVIF picture",
        ),
        (UploadLimits(), b"", "this file cannot be used: not a JPEG, PNG, GIF, WebP or AVIF picture"),
    ],
)
def test_refusals_are_one_line(tagger: Tagger, tmp_path: Path, limits: Any, content: Any, words: Any) -> None:
    """A refusal of a large file, or of one that is not a picture, is one line."""
    picture = write_picture(tmp_path / "red.png", "red").read_bytes()
    with pytest.raises(DataError, match=re.escape(words)) as refusal:
        analyse(tagger, picture if content is None else content, limits)

    assert "\n" not in str(refusal.value)


def test_heat_is_colour_on_grey() -> None:
    """Where the map is positive the picture is red, elsewhere grey; the map is of the square around it."""
    shown = jpeg(Image.new("RGB", (400, 200), (40, 160, 220)))
    values = np.zeros((4, 4), np.float32)
    values[1:3, 3] = 2.0  # the right end of a landscape picture
    values[0, 0] = 9.0  # in the white above it, where nothing is shown
    values[2, 0] = -5.0
    values[0, 0] = 0.0
    heat = pixels_of(draw_heat_map(shown, HeatMap(values, Method.ACTIVATION)))

    assert heat.shape == (200, 400, 3)
    red, green, blue = heat[100, 380].astype(int)
    assert red > green + 60
    assert red > blue + 60
    assert np.ptp(heat[100, 20].astype(int)) < 12


def test_map_without_a_positive_place_has_no_picture() -> None:
    """Nothing is coloured where nothing speaks for the tag."""
    shown = jpeg(Image.new("RGB", (40, 40), "white"))

    assert draw_heat_map(shown, HeatMap(np.full((2, 2), -1, np.float32), Method.ACTIVATION)) is None


def test_tags_from_the_internet_stay_text() -> None:
    """A name with markup is shown as its letters."""
    hostile = make_vocabulary([("<img src=x onerror=alert(1)>", "general"), ('"><b>', "character")])
    selected = select_tags(np.array([0.9, 0.9], np.float32), hostile, {"general": 0.1, "character": 0.1})
    page = render("serve_tags.html", selected=selected, shown_tags=40)

    assert "<img" not in page
    assert "<b>&#34;" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


@pytest.mark.parametrize("model", ["wd-tagger", "runs/first", "runs/first/model"])
def test_the_title_names_the_program_and_the_model(tagger: Tagger, tmp_path: Path, model: str) -> None:
    """Browser tab and heading say what is served: not the bare name of a folder, which may be `model`."""
    title = page_title(tmp_path / model)
    head = render("serve_head.html", title=title, tagger=tagger, limits=UploadLimits())

    assert title == f"alti2v: {'wd-tagger' if model == 'wd-tagger' else 'first'}"
    assert f"<h1>{title}</h1>" in head


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_is_known(host: Any, is_local: Any) -> None:
    """Addresses that only this machine can reach are recognised."""
    assert ServeConfig(model=Path("x"), host=host).is_local is is_local


def test_default_limits_are_the_librarys() -> None:
    """What `--help` shows as limits is what the library would do by itself."""
    defaults = {option.name: option.default for option in serve.params}

    assert defaults["max_megabytes"] == UploadLimits().megabytes
    assert defaults["max_megapixels"] == UploadLimits().megapixels


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"port": 70000}, "--port 70000"),
        ({"count": 0}, "--count 0"),
        ({"limits": UploadLimits(megabytes=0)}, "--max-megabytes"),
    ],
)
def test_impossible_wishes_are_refused(wish: Any, words: Any) -> None:
    """Before anything is loaded."""
    with pytest.raises(UsageError, match=words):
        ServeConfig(model=Path("x"), **wish)


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def pixels_of(content: bytes | None) -> np.ndarray:
    assert content is not None
    return np.asarray(Image.open(io.BytesIO(content)))
