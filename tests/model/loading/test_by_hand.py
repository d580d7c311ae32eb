"""A model.json with a fault: the message names the file and the field, whatever the network is like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alti2v.errors import Alti2vError, DamagedError
from alti2v.model.loading.folder import open_tagger
from tests.model.helpers.foreign_taggers import FAMILIES, write_network

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")

NORMALIZE = {"type": "normalize", "mean": 0.5, "std": 0.5}
STAGES = [{"type": "pad_to_size", "size": 96}, NORMALIZE]


def described(folder: Path, **changes: Any) -> Path:
    """A tagger with a model.json, of which some fields are others; "input.name" is in the object input."""
    FAMILIES["by_hand"].write(folder)
    document = json.loads((folder / "model.json").read_text())
    for name, value in changes.items():
        place, _, inner = name.rpartition(".")
        (document[place] if place else document)[inner] = value
    (folder / "model.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("output.tags", "no_such_output", "output.tags: the model has no output 'no_such_output', only"),
        ("output.tags", "embedding", "output.tags: .* has 3 columns for 8 labels"),
        ("output.vectors", "no_such_output", "output.vectors: the model has no output"),
        ("output.logit", True, "output: 'logit' is unknown"),
        ("output.logits", 1, "output: logits has the value 1"),
        ("output", 5, "output: 5 is not an object"),
        ("input.padding_mask", "no_such_input", "input.padding_mask: the model has no input"),
        ("input.name", "no_such_input", "input.name: the model has no input"),
        ("input.nmae", "pixels", "input: 'nmae' is unknown"),
        ("input.order", "NCWH", "input.order: 'NCWH' is not one of NHWC, NCHW"),
        ("input.order", "NCHW", "input.order: the model takes"),
        ("input.channels", "rgb", "input.channels: 'rgb' is not one of RGB, BGR"),
        ("input.scale", 0, "input.scale: 0 is not above 0"),
        ("input.scale", 1e300, r"input.scale: pixels become numbers up to"),
        ("input.scale", 10**400, "input: scale has the value"),
        ("input.stages", [*STAGES, {"type": "normalize", "mean": 0.5, "std": 0}], r"input.stages: .*std 0,"),
        ("input.stages", [*STAGES, {"type": "normalize", "mean": 10**400, "std": 1}], "input.stages: "),
        ("input.stages", [{**NORMALIZE, "st": 1}, *STAGES], "input.stages: 'st' is unknown"),
        ("input.stages", [{"type": "pad_to_size", "size": 96, "background_color": "sky"}], "'sky'"),
        ("input.stages", [{"type": "pad_to_size", "size": 96, "background_color": [0, 0, 999]}], "999"),
        ("labels", "names.tsv", "labels: 'names.tsv' does not end in .txt, .csv, .json"),
        ("labels", "../names.txt", "labels: there is no '../names.txt' beside it"),
        ("labels", ["a", "b"], "output.tags: .* has 8 columns for 2 labels"),
        ("labels", ["a", "a"], "labels: rows 0 and 1 of .*'a'"),
        ("thresholds", {"general": 10**400}, "thresholds has the value"),
        ("thresholds", {"general": 1.5}, "thresholds: has the threshold 1.5"),
        ("thresholds", {"character": 0.5}, "thresholds: no tag is of the category 'character'"),
        ("model_file", "other.onnx", "model_file: there is no 'other.onnx' beside it"),
        ("kind", "fish", "kind has the value 'fish'"),
        ("licence", "MIT", "'licence' is unknown"),
    ],
)
def test_the_field_with_the_fault_is_named(tmp_path: Path, name: str, value: object, message: str) -> None:
    """Every field is checked when the model is loaded, and none is passed over: exit status 4, one line."""
    folder = described(tmp_path, **{name: value})
    with pytest.raises(DamagedError, match=rf"model\.json.*{message}") as caught:
        open_tagger(folder)

    assert "\n" not in str(caught.value)
    assert "get it again" not in str(caught.value)  # the network is sound


@pytest.mark.parametrize("name", ["labels", "input"])
def test_a_field_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    """`labels` and `input` are required."""
    folder = described(tmp_path)
    document = json.loads((folder / "model.json").read_text())
    del document[name]
    (folder / "model.json").write_text(json.dumps(document))

    with pytest.raises(DamagedError, match=rf"model\.json .*\({name} is missing\)"):
        open_tagger(folder)


def test_a_mask_that_is_not_named_is_missed_when_the_model_is_loaded(tmp_path: Path) -> None:
    """A network with a second input cannot run without it; a mask of another type is none."""
    folder = described(tmp_path, **{"input.padding_mask": "mask"})
    write_network(next(folder.glob("*.onnx")), 8, side=96, channels_first=True, mask="mask", gives=("logits",))
    document = json.loads((folder / "model.json").read_text())
    document["input"] |= {"name": "input", "order": "NCHW"}
    document["output"] = {"logits": True}
    for mask, message in ((None, "also takes mask tensor"), ("input", "input.padding_mask: input tensor")):
        document["input"]["padding_mask"] = mask
        (folder / "model.json").write_text(json.dumps(document))
        with pytest.raises(Alti2vError, match=message):
            open_tagger(folder)
    document["input"]["padding_mask"] = "mask"
    (folder / "model.json").write_text(json.dumps(document))

    assert open_tagger(folder).description.input.mask == "mask"


def test_whole_pixels_cannot_be_normalised(tmp_path: Path) -> None:
    """A scale for a network that takes uint8 would have no effect."""
    folder = described(tmp_path, **{"input.scale": 0.5})
    write_network(
        next(folder.glob("*.onnx")),
        8,
        side=96,
        channels_first=False,
        dtype="UINT8",
        gives=("logits", "embedding"),
        takes="pixels",
    )

    with pytest.raises(DamagedError, match=r"model\.json, input\.scale: .* takes whole pixels"):
        open_tagger(folder)
