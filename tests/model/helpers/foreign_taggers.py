"""Folders of other people's taggers with their real layouts, and networks that see a picture's mean colour.

Beside each folder is what its own clients do with a picture, in plain Pillow and numpy, so that probabilities
can be computed by hand. The layouts are those of the published repositories.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Values = npt.NDArray[np.float64]

RATINGS = ("general", "sensitive", "questionable", "explicit")
GENERAL = ("1girl", "solo", "long_hair", ">_<", "^_^", "blue_eyes", "smile", "holding_(x)")
CHARACTERS = ("hatsune_miku", "saber_(fate)")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFamily:
    """A family.

    Attributes:
        write: Writes its files into a folder.
        prepare: What its clients make of an RGB picture: (S, S, 3), channels in the order that is fed.
        names: Tags in the order of the outputs.
        mask: True if the network takes a mask of the padding.
    """

    write: Callable[[Path], None]
    prepare: Callable[[Image.Image], Values]
    names: tuple[str, ...]
    mask: bool = False


def weights(outputs: int, *, is_wide: bool) -> tuple[Values, Values]:
    """Return kernel (3, T) and bias (T,) of a network; `is_wide` for values from 0 to 255."""
    random = np.random.default_rng(outputs)
    kernel = random.normal(size=(3, outputs)) * (2 / 255 if is_wide else 2)
    return kernel.astype(np.float32).astype(np.float64), random.normal(size=outputs).round(3) - 1


def write_network(
    file: Path,
    outputs: int,
    *,
    side: int | None,
    channels_first: bool,
    is_wide: bool = False,
    gives: Sequence[str] = ("output",),
    takes: str = "input",
    batch: int | str = "N",
    mask: str | None = None,
    dtype: str = "FLOAT",
) -> None:
    """Write a network of one product: logits = mean colour @ kernel + bias, plus the share of the padding.

    Args:
        file: File to write.
        outputs: Number of tags.
        side: Side of the pictures, px; None to leave it open.
        channels_first: True for (N, 3, S, S).
        is_wide: True if values are from 0 to 255.
        gives: Names of the outputs; those with "logits" or "predictions" in it come before the sigmoid, and
            "embedding" is the mean colour.
        takes: Name of the input.
        batch: Length of the batch; a text leaves it open.
        mask: Name of a second input of bool; None for none.
        dtype: Type of the pictures.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    kernel, bias = weights(outputs, is_wide=is_wide)
    kind = getattr(TensorProto, dtype)
    sides = [side or "height", side or "width"]
    inputs = [
        helper.make_tensor_value_info(takes, kind, [batch, 3, *sides] if channels_first else [batch, *sides, 3])
    ]
    nodes = [
        helper.make_node("Cast", [takes], ["values"], to=TensorProto.FLOAT),
        helper.make_node(
            "ReduceMean", ["values"], ["mean"], axes=[2, 3] if channels_first else [1, 2], keepdims=0
        ),
        helper.make_node("Gemm", ["mean", "kernel", "bias"], ["plain"]),
    ]
    last = "plain"
    if mask is not None:
        inputs.append(helper.make_tensor_value_info(mask, TensorProto.BOOL, [batch, *sides]))
        nodes += [
            helper.make_node("Cast", [mask], ["padding"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["padding"], ["share"], axes=[1, 2], keepdims=0),
            helper.make_node("Unsqueeze", ["share", "one"], ["column"]),
            helper.make_node("Add", ["plain", "column"], ["padded"]),
        ]
        last = "padded"
    declared = []
    for name in gives:
        is_vector, is_logits = name == "embedding", "logits" in name or "predictions" in name
        source = "mean" if is_vector else last
        nodes.append(helper.make_node("Identity" if is_vector or is_logits else "Sigmoid", [source], [name]))
        declared.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3 if is_vector else outputs])
        )
    constants = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32), "one": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        inputs,
        declared,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 15)]), str(file))


def by_hand(family: ForeignFamily, image: Image.Image, *, is_wide: bool) -> Values:
    """Compute the probabilities of an RGB picture from the family's own preparation."""
    kernel, bias = weights(len(family.names), is_wide=is_wide)
    logits = family.prepare(image).mean(axis=(0, 1)) @ kernel + bias
    if family.mask:
        shorter, longer = sorted(image.size)
        logits = logits + 1 - round(448 * shorter / longer) / 448
    return np.asarray(1 / (1 + np.exp(-logits)))


def squared(
    image: Image.Image, side: int, *, colour: tuple[int, int, int], resampling: Image.Resampling
) -> Image.Image:
    """Pad to a square at full size, then resize: what the WD taggers' own space does."""
    longer = max(image.size)
    square = Image.new("RGB", (longer, longer), colour)
    square.paste(image, ((longer - image.width) // 2, (longer - image.height) // 2))
    return square.resize((side, side), resampling)


def fitted(
    image: Image.Image, side: int, *, colour: tuple[int, int, int], resampling: Image.Resampling
) -> Image.Image:
    """Resize to fit, then pad to a square: imgutils' pad_to_size."""
    scale = side / max(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)), resampling)
    square = Image.new("RGB", (side, side), colour)
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return square


def normalised(image: Image.Image, of: tuple[Sequence[float], Sequence[float]]) -> Values:
    """Return (pixel / 255 - mean) / std."""
    mean, std = of
    return np.asarray((np.asarray(image, np.float64) / 255 - mean) / std)


def write_csv(
    file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]], *, ends: str = "\n"
) -> None:
    """Write a table."""
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator=ends)
        writer.writerow(columns)
        writer.writerows(rows)


# WD taggers --------------------------------------------------------------------------------------

_WD_NAMES = (*RATINGS, *GENERAL, *CHARACTERS)
_WD_COLUMNS = ("tag_id", "name", "category", "count")
_WD_ROWS = [
    *((9999999 - i, name, 9, 0) for i, name in enumerate(RATINGS)),
    *((100 + i, name, 0, 1000 - i) for i, name in enumerate(GENERAL)),
    *((200 + i, name, 4, 500 - i) for i, name in enumerate(CHARACTERS)),
]


def _wd(
    *,
    gives: Sequence[str] = ("output",),
    batch: int | str = "N",
    spreadsheet: bool = False,
    numbered: bool = False,
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_network(
            folder / "model.onnx",
            len(_WD_NAMES),
            side=448,
            channels_first=False,
            is_wide=True,
            gives=gives,
            batch=batch,
            takes="input_1:0",
        )
        table = folder / "selected_tags.csv"
        if numbered:
            write_csv(table, ("id", *_WD_COLUMNS), [(i, *row) for i, row in enumerate(_WD_ROWS)])
        else:
            write_csv(table, _WD_COLUMNS, _WD_ROWS, ends="\r\n" if spreadsheet else "\n")
        if spreadsheet:
            table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
        (folder / "config.json").write_text('{"architecture": "vit_base_patch16_224"}')

    return write


def _prepare_wd(image: Image.Image) -> Values:
    square = squared(image, 448, colour=(255, 255, 255), resampling=Image.Resampling.BICUBIC)
    return np.asarray(square, np.float64)[..., ::-1]


# cl_tagger ---------------------------------------------------------------------------------------

_CL_TAGS: Sequence[tuple[str, str]] = [
    *((name, "Rating") for name in RATINGS),
    *((name, "General") for name in GENERAL),
    *((name, "Character") for name in CHARACTERS),
    *(("vocaloid", "Copyright"), ("highres", "Meta"), ("best_quality", "Quality")),
    *(("animagine", "Model"), ("someone", "Artist")),
]


def _cl(
    *, model: str = "model_optimized.onnx", by_name: bool = False, side: int | None = 448
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_network(
            folder / model,
            len(_CL_TAGS),
            side=side,
            channels_first=True,
            gives=("output_logits",),
            batch="batch_size",
        )
        mapping: dict[str, Any] = {
            str(i): {"tag": tag, "category": kind} for i, (tag, kind) in enumerate(_CL_TAGS)
        }
        if by_name:
            mapping = {
                "idx_to_tag": {str(i): tag for i, (tag, _) in enumerate(_CL_TAGS)},
                "tag_to_category": dict(_CL_TAGS),
            }
        (folder / "tag_mapping.json").write_text(json.dumps(mapping))

    return write


def _prepare_cl(image: Image.Image) -> Values:
    square = squared(image, 448, colour=(255, 255, 255), resampling=Image.Resampling.BICUBIC)
    return normalised(square, HALF)[..., ::-1]


# imgutils' generic form --------------------------------------------------------------------------

_DEEPGHS_OUTPUTS = ("embedding", "logits", "prediction")
_PIXAI_ROWS = [
    *((i, 1000 + i, name, 0, 1000 - i, "[]") for i, name in enumerate(GENERAL)),
    (8, 2000, CHARACTERS[0], 4, 500, '["vocaloid"]'),
    (9, 2001, CHARACTERS[1], 4, 499, '["fate_(series)"]'),
]
_ANIMETIMM_ROWS = [
    *((i, 100 + i, name, 0, 1000 - i, 0.35 + 0.01 * i, 0.6) for i, name in enumerate(GENERAL)),
    *((8 + i, 200 + i, name, 4, 500 - i, 0.7, 0.8) for i, name in enumerate(CHARACTERS)),
    *((10 + i, 9999999 - i, name, 9, 0, 0.4, 0.6) for i, name in enumerate(RATINGS)),
]
_NAMED_CATEGORIES = [
    {"category": 0, "name": "general"},
    {"category": 4, "name": "character"},
    {"category": 9, "name": "rating"},
]


def _write_pixai(folder: Path) -> None:
    write_network(
        folder / "model.onnx", len(_PIXAI_ROWS), side=448, channels_first=True, gives=_DEEPGHS_OUTPUTS
    )
    write_csv(folder / "selected_tags.csv", ("id", "tag_id", "name", "category", "count", "ips"), _PIXAI_ROWS)
    write_csv(
        folder / "thresholds.csv",
        ("category", "name", "threshold"),
        [(0, "general", 0.3), (4, "character", 0.85)],
    )
    (folder / "categories.json").write_text(json.dumps(_NAMED_CATEGORIES))
    stages = [
        {"type": "resize", "size": [448, 448], "interpolation": "bilinear", "antialias": True},
        {"type": "to_tensor"},
        {"type": "normalize", "mean": [0.5] * 3, "std": [0.5] * 3},
    ]
    (folder / "preprocess.json").write_text(json.dumps({"stages": stages}))


def _prepare_pixai(image: Image.Image) -> Values:
    return normalised(image.resize((448, 448), Image.Resampling.BILINEAR), HALF)


def _write_animetimm(folder: Path) -> None:
    write_network(
        folder / "model.onnx", len(_ANIMETIMM_ROWS), side=384, channels_first=True, gives=_DEEPGHS_OUTPUTS
    )
    columns = ("id", "tag_id", "name", "category", "count", "best_threshold", "best_f1")
    write_csv(folder / "selected_tags.csv", columns, _ANIMETIMM_ROWS)
    write_csv(
        folder / "thresholds.csv",
        ("category", "name", "alpha", "threshold"),
        [(0, "general", 1, 0.36), (4, "character", 1, 0.5), (9, "rating", 1, 0.4)],
    )
    (folder / "categories.json").write_text(json.dumps(_NAMED_CATEGORIES))
    stages = [
        {"type": "pad_to_size", "size": [512, 512], "background_color": "white", "interpolation": "bilinear"},
        {"type": "resize", "size": 448, "interpolation": "bicubic"},
        {"type": "center_crop", "size": [384, 384]},
        {"type": "maybe_to_tensor"},
        {"type": "normalize", "mean": list(IMAGENET[0]), "std": list(IMAGENET[1])},
    ]
    (folder / "preprocess.json").write_text(json.dumps({"test": stages, "val": stages}))


def _prepare_animetimm(image: Image.Image) -> Values:
    padded = fitted(image, 512, colour=(255, 255, 255), resampling=Image.Resampling.BILINEAR)
    resized = padded.resize((448, 448), Image.Resampling.BICUBIC)
    return normalised(resized.crop((32, 32, 416, 416)), IMAGENET)


# camie, OppaiOracle, ML-Danbooru -----------------------------------------------------------------

_CAMIE_TAGS: Sequence[tuple[str, str]] = [
    *((name, "general") for name in GENERAL),
    *((name, "character") for name in CHARACTERS),
    *(("vocaloid", "copyright"), ("someone", "artist"), ("highres", "meta"), ("2024", "year")),
    ("rating_general", "rating"),
]
_CAMIE_COLOUR = (124, 116, 104)


def _camie(model: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_network(
            folder / model,
            len(_CAMIE_TAGS),
            side=512,
            channels_first=True,
            gives=("initial_predictions", "refined_predictions"),
        )
        mapping = {
            "idx_to_tag": {str(i): tag for i, (tag, _) in enumerate(_CAMIE_TAGS)},
            "tag_to_category": dict(_CAMIE_TAGS),
        }
        document = {"model_info": {"img_size": 512}, "dataset_info": {"tag_mapping": mapping}}
        (folder / "camie-tagger-v2-metadata.json").write_text(json.dumps(document))

    return write


def _prepare_camie(image: Image.Image) -> Values:
    square = squared(image, 512, colour=_CAMIE_COLOUR, resampling=Image.Resampling.LANCZOS)
    return normalised(square, IMAGENET)


_OPPAI_NAMES = ("<PAD>", "<UNK>", *GENERAL, "rating:safe")
_GREY = (114, 114, 114)


def _write_oppai(folder: Path) -> None:
    write_network(
        folder / "model.onnx",
        len(_OPPAI_NAMES),
        side=448,
        channels_first=True,
        takes="pixel_values",
        mask="padding_mask",
        gives=("probabilities",),
    )
    rows = [(i, name, 9 if name.startswith("rating:") else 0, 10) for i, name in enumerate(_OPPAI_NAMES)]
    write_csv(folder / "selected_tags.csv", _WD_COLUMNS, rows)
    document = {
        "image_size": 448,
        "normalize_mean": [0.5] * 3,
        "normalize_std": [0.5] * 3,
        "pad_color": list(_GREY),
    }
    (folder / "preprocessing.json").write_text(json.dumps(document))


def _prepare_oppai(image: Image.Image) -> Values:
    return normalised(squared(image, 448, colour=_GREY, resampling=Image.Resampling.LANCZOS), HALF)


def _write_ml_danbooru(folder: Path) -> None:
    file = folder / "ml_caformer_m36_dec-5-97527.onnx"
    write_network(file, len(GENERAL), side=None, channels_first=True, gives=("output_logits",))
    write_csv(folder / "tags.csv", ("index", "tag"), list(enumerate(GENERAL)))


def _prepare_ml_danbooru(image: Image.Image) -> Values:
    return np.asarray(image.resize((448, 448), Image.Resampling.BILINEAR), np.float64) / 255


# Described by hand -------------------------------------------------------------------------------


def _write_by_hand(folder: Path) -> None:
    write_network(
        folder / "net.onnx", len(GENERAL), side=96, channels_first=False, gives=("logits", "embedding")
    )
    (folder / "names.txt").write_text("\n".join(GENERAL) + "\n")
    document = {
        "labels": "names.txt",
        "input": {
            "channels": "BGR",
            "stages": [
                {
                    "type": "pad_to_size",
                    "size": [96, 96],
                    "background_color": [10, 20, 30],
                    "interpolation": "bicubic",
                },
                {"type": "normalize", "mean": list(IMAGENET[0]), "std": list(IMAGENET[1])},
            ],
        },
        "output": {"tags": "logits", "logits": True, "vectors": "embedding"},
        "thresholds": {"general": 0.6},
    }
    (folder / "model.json").write_text(json.dumps(document))


def _prepare_by_hand(image: Image.Image) -> Values:
    square = fitted(image, 96, colour=(10, 20, 30), resampling=Image.Resampling.BICUBIC)
    return normalised(square, IMAGENET)[..., ::-1]


_PIXAI_NAMES = (*GENERAL, *CHARACTERS)
_CL_NAMES = tuple(tag for tag, _ in _CL_TAGS)
_CAMIE_NAMES = tuple(tag for tag, _ in _CAMIE_TAGS)

FAMILIES: Mapping[str, ForeignFamily] = {
    "wd_v3": ForeignFamily(write=_wd(), prepare=_prepare_wd, names=_WD_NAMES),
    "wd_v14": ForeignFamily(write=_wd(gives=("sigmoid",), batch=1), prepare=_prepare_wd, names=_WD_NAMES),
    "wd_embedding": ForeignFamily(
        write=_wd(gives=("sigmoid", "embedding")), prepare=_prepare_wd, names=_WD_NAMES
    ),
    "wd_spreadsheet": ForeignFamily(write=_wd(spreadsheet=True), prepare=_prepare_wd, names=_WD_NAMES),
    "wd_numbered": ForeignFamily(write=_wd(numbered=True), prepare=_prepare_wd, names=_WD_NAMES),
    "cl": ForeignFamily(write=_cl(), prepare=_prepare_cl, names=_CL_NAMES),
    "cl_plain_name": ForeignFamily(write=_cl(model="model.onnx"), prepare=_prepare_cl, names=_CL_NAMES),
    "cl_by_name": ForeignFamily(write=_cl(by_name=True), prepare=_prepare_cl, names=_CL_NAMES),
    "cl_open_size": ForeignFamily(write=_cl(side=None), prepare=_prepare_cl, names=_CL_NAMES),
    "pixai": ForeignFamily(write=_write_pixai, prepare=_prepare_pixai, names=_PIXAI_NAMES),
    "animetimm": ForeignFamily(
        write=_write_animetimm, prepare=_prepare_animetimm, names=(*GENERAL, *CHARACTERS, *RATINGS)
    ),
    "camie": ForeignFamily(write=_camie("camie-tagger-v2.onnx"), prepare=_prepare_camie, names=_CAMIE_NAMES),
    "camie_renamed": ForeignFamily(write=_camie("model.onnx"), prepare=_prepare_camie, names=_CAMIE_NAMES),
    "oppai_oracle": ForeignFamily(write=_write_oppai, prepare=_prepare_oppai, names=_OPPAI_NAMES, mask=True),
    "ml_danbooru": ForeignFamily(write=_write_ml_danbooru, prepare=_prepare_ml_danbooru, names=GENERAL),
    "by_hand": ForeignFamily(write=_write_by_hand, prepare=_prepare_by_hand, names=GENERAL),
}
WIDE = frozenset(name for name in FAMILIES if name.startswith("wd_"))
