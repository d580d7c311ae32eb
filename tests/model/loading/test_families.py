"""Probabilities of every family are those that its own clients would compute, from plain numpy and Pillow."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alti2v.demo.drawing.corpus import Corpus
from alti2v.demo.drawing.render import original
from alti2v.errors import DamagedError
from alti2v.model.loading.folder import open_tagger
from alti2v.model.tagging.preprocess import Problem
from alti2v.model.tagging.preprocess import pixels as prepared
from tests.model.helpers.foreign_taggers import FAMILIES, WIDE, by_hand, write_csv, write_network

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    """Drawn pictures: one as high as wide, one upright, one wide."""
    with Image.open(io.BytesIO(original(Corpus(seed=3), 1))) as image:
        whole = image.convert("RGB")
    return [whole.resize((640, 640)), whole.resize((500, 900)), whole.resize((1400, 520))]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_probabilities_are_those_of_the_family(tmp_path: Path, drawn: list[Image.Image], name: str) -> None:
    """Probabilities of drawn pictures agree with those of clients: as PNG within 0.005, as JPEG within 0.02."""
    family = FAMILIES[name]
    family.write(tmp_path)
    opened = open_tagger(tmp_path)
    description = opened.description

    assert description.vocabulary.names == family.names
    for image in drawn:
        for form, tolerance in (("PNG", 0.005), ("JPEG", 0.02)):
            file = io.BytesIO()
            image.save(file, form, quality=90)
            pixels = prepared(file.getvalue(), description.input.preparation)
            assert not isinstance(pixels, Problem)
            with Image.open(file) as stored:
                expected = by_hand(family, stored.convert("RGB"), is_wide=name in WIDE)
            found = opened.forward(pixels[None])[0][0]

            assert found == pytest.approx(expected, abs=tolerance), (image.size, form)


def test_the_padding_is_masked(tmp_path: Path) -> None:
    """OppaiOracle's second input is True exactly where the picture is not."""
    FAMILIES["oppai_oracle"].write(tmp_path)
    description = open_tagger(tmp_path).description
    file = io.BytesIO()
    Image.new("RGB", (200, 100), "red").save(file, "PNG")
    pixels = prepared(file.getvalue(), description.input.preparation)

    assert not isinstance(pixels, Problem)
    assert pixels.shape == (448, 448, 4)
    assert (pixels[112:336, :, 3] == 255).all()
    assert not pixels[:112, :, 3].any()
    assert not pixels[336:, :, 3].any()
    assert (pixels[0, 0, :3] == 114).all()
    assert "<PAD>" not in description.vocabulary.index
    assert list(description.vocabulary.members) == ["general", "rating"]


def test_what_comes_with_a_model_is_read(tmp_path: Path) -> None:
    """Thresholds of tags, of categories and of all; copyrights of characters; vectors."""
    animetimm, pixai, hand = (tmp_path / name for name in ("animetimm", "pixai", "by_hand"))
    for folder in (animetimm, pixai, hand):
        FAMILIES[folder.name].write(folder)
    of_tags, of_categories, of_all = (open_tagger(folder).description for folder in (animetimm, pixai, hand))

    thresholds = of_tags.thresholds.of(of_tags.vocabulary, otherwise=0.35)
    assert thresholds[:3] == pytest.approx([0.35, 0.36, 0.37])
    assert thresholds[8:10] == pytest.approx([0.7, 0.7])
    assert of_tags.thresholds.source == "best_threshold in selected_tags.csv and thresholds.csv"
    thresholds = of_categories.thresholds.of(of_categories.vocabulary, otherwise=0.35)
    assert thresholds == pytest.approx([0.3] * 8 + [0.85] * 2)
    assert of_categories.copyright_of == {
        "hatsune_miku": ("vocaloid",),
        "saber_(fate)": ("fate_(series)",),
    }
    assert of_all.thresholds.of(of_all.vocabulary, otherwise=0.35) == pytest.approx([0.6] * 8)
    assert (of_all.output.vectors, of_all.output.features) == ("embedding", 3)


@pytest.mark.parametrize("dtype", ["FLOAT16", "UINT8"])
def test_other_number_types_are_fed(tmp_path: Path, dtype: str) -> None:
    """A model that takes float16 or uint8 answers like one that takes float32."""
    write_network(tmp_path / "model.onnx", 14, side=64, channels_first=False, is_wide=True, dtype=dtype)
    write_network(tmp_path / "plain" / "model.onnx", 14, side=64, channels_first=False, is_wide=True)
    rows = [(i, f"tag_{i}", 0, 1) for i in range(14)]
    for folder in (tmp_path, tmp_path / "plain"):
        write_csv(folder / "selected_tags.csv", ("tag_id", "name", "category", "count"), rows)
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)

    assert open_tagger(tmp_path).forward(images)[0] == pytest.approx(
        open_tagger(tmp_path / "plain").forward(images)[0], abs=1e-3
    )


def test_a_table_of_10861_rows_is_read_fast(tmp_path: Path) -> None:
    """The table of a WD tagger, the size of the published ones, takes less than half a second."""
    write_network(tmp_path / "model.onnx", 10_861, side=64, channels_first=False, is_wide=True)
    rows = [(i, f"tag_{i}", 0 if i < 8110 else 4, 10_861 - i) for i in range(10_861)]
    write_csv(tmp_path / "selected_tags.csv", ("tag_id", "name", "category", "count"), rows)
    open_tagger(tmp_path)
    times = []
    for _ in range(3):
        begun_s = time.process_time()
        open_tagger(tmp_path)
        times.append(time.process_time() - begun_s)

    assert min(times) < 0.5, times


def test_numbers_of_e621_and_words_that_are_not_known(tmp_path: Path) -> None:
    """Z3D's table has e621's numbers; a category of neither is counted as unknown, and named."""
    write_network(tmp_path / "model.onnx", 4, side=64, channels_first=False, is_wide=True)
    columns = ("tag_id", "name", "category", "count")
    rows = [(1, "solo", 0, 9), (2, "canine", 5, 9), (3, "lore", 8, 9), (4, "odd", 77, 9)]
    write_csv(tmp_path / "tags-selected.csv", columns, rows)
    description = open_tagger(tmp_path).description

    assert description.vocabulary.categories == ("general", "general", "meta", "unknown")
    assert description.notes == ("1 tag of tags-selected.csv with the category '77' count as unknown",)


def test_camies_own_size_counts(tmp_path: Path) -> None:
    """`img_size` of the metadata is the side if the network leaves it open, else it has to agree."""
    FAMILIES["camie"].write(tmp_path)
    metadata, model = tmp_path / "camie-tagger-v2-metadata.json", tmp_path / "camie-tagger-v2.onnx"
    document = json.loads(metadata.read_text())
    document["model_info"]["img_size"] = 384
    metadata.write_text(json.dumps(document))
    with pytest.raises(DamagedError, match=r"has the img_size 384 for a model that takes .*512"):
        open_tagger(tmp_path)

    gives = ("initial_predictions", "refined_predictions")
    write_network(model, len(FAMILIES["camie"].names), side=None, channels_first=True, gives=gives)
    assert open_tagger(tmp_path).description.input.size == 384
    for wrong in (0, -5, 1 << 40, "large", 2.5, True):
        document["model_info"]["img_size"] = wrong
        metadata.write_text(json.dumps(document))
        with pytest.raises(DamagedError, match="has the img_size"):
            open_tagger(tmp_path)


@pytest.mark.parametrize("name", ["wd_v3", "ml_danbooru", "oppai_oracle"])
def test_thresholds_of_a_table_are_used_in_any_family(tmp_path: Path, name: str) -> None:
    """A column best_threshold is the model's own threshold of each tag; an empty cell or nan is none."""
    FAMILIES[name].write(tmp_path)
    table = next(tmp_path.glob("*tags.csv"))
    lines = table.read_text().splitlines()
    cells = ["best_threshold", "", "nan", *["0.2"] * (len(lines) - 3)]
    table.write_text("\n".join(f"{line},{cell}" for line, cell in zip(lines, cells, strict=True)))
    description = open_tagger(tmp_path).description
    otherwise = 0.7 if name == "ml_danbooru" else 0.35

    found = description.thresholds.of(description.vocabulary, otherwise=0.35)
    assert found == pytest.approx([otherwise] * 2 + [0.2] * (len(lines) - 3))
    assert description.thresholds.sources(description.vocabulary)[2] == f"best_threshold in {table.name}"
    table.write_text(
        "\n".join(f"{line},{cell}" for line, cell in zip(lines, [cells[0], *"2" * 99], strict=False))
    )
    with pytest.raises(DamagedError, match=r"has the threshold '2', which is not in \[0, 1\]"):
        open_tagger(tmp_path)
