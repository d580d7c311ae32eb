"""A WD tagger's folder small enough to think through: it looks at a picture's mean colour alone."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 32
# name -> (category, log-odds = bias + blue, green, red of the mean colour in [0, 255] times these)
TAGS: Mapping[str, tuple[int, float, tuple[float, float, float]]] = {
    "general": (9, 1.0, (0, 0, 0)),
    "sensitive": (9, -1.0, (0, 0, 0.02)),
    "questionable": (9, -3.0, (0, 0, 0)),
    "explicit": (9, -4.0, (0, 0, 0)),
    "blue_sky": (0, -4.0, (0.06, -0.02, -0.02)),
    "green_hair": (0, -4.0, (-0.02, 0.06, -0.02)),
    "red_eyes": (0, -4.0, (-0.02, -0.02, 0.06)),
    "^_^": (0, -1.0, (0.004, 0.004, 0.004)),
    "saber_(fate)": (4, -2.0, (-0.01, -0.01, 0.03)),
    "hatsune_miku": (4, -2.0, (0.01, 0.02, -0.02)),
}


def write_wd_folder(
    folder: Path,
    *,
    tags: Mapping[str, tuple[int, float, tuple[float, float, float]]] = TAGS,
    rows: Sequence[tuple[str, int]] | None = None,
    batch: int | str = "N",
    size: int | str = SIZE,
    with_features: bool = False,
    with_sigmoid: bool = True,
) -> Path:
    """Write model.onnx and selected_tags.csv; `rows` in place of the right ones, to be wrong on purpose."""
    from onnx import TensorProto, helper, numpy_helper, save

    names = list(tags)
    kernel = np.array([tags[name][2] for name in names], np.float32).T  # (3, T)
    bias = np.array([tags[name][1] for name in names], np.float32)
    projection = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
    last = "logits" if with_sigmoid else "output"
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "kernel", "bias"], [last]),
        *([helper.make_node("Sigmoid", ["logits"], ["output"])] if with_sigmoid else []),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, len(names)])]
    constants = {"kernel": kernel, "bias": bias}
    if with_features:
        constants["projection"] = projection
        nodes += [
            helper.make_node("MatMul", ["mean", "projection"], ["projected"]),
            helper.make_node("Relu", ["projected"], ["embedding"]),
        ]
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 8]))
    graph = helper.make_graph(
        nodes,
        "tiny_wd",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, size, size, 3])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)])
    save(model, str(folder / "model.onnx"))
    with (folder / "selected_tags.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("tag_id", "name", "category", "count"))
        chosen = [(name, tags[name][0]) for name in names] if rows is None else rows
        writer.writerows((number, name, category, 1) for number, (name, category) in enumerate(chosen))
    return folder


COLOURS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250), "white": (255, 255, 255)}


def write_picture(path: Path, colour: str, *, size: tuple[int, int] = (60, 60), **saving: Any) -> Path:
    """Write a picture of one colour; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path, **saving)
    return path
