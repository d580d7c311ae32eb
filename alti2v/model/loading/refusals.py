"""Reasons why a folder's model is not read, with hints where to find a readable form. Pure.

Weights without a graph (safetensors) need the program that built the network, and whole models in Python's own
forms can run code when they are loaded. Only ONNX is read, and runs of this program.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePath

from alti2v.model.loading.families import wd
from alti2v.model.loading.recognition import ONNX_SUFFIX, matching

LFS_BEGINNING = b"version https://git-lfs.github.com/spec/"
_WEIGHTS_SUFFIX = ".safetensors"
CODE_SUFFIXES = (
    *(".keras", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".pb", ".joblib", ".bin"),
)
_EITHER = "give a RUN, or a folder with model.onnx and selected_tags.csv"
_BY_HAND = "export it to ONNX and describe it in a model.json (docs/MODELS.md)"
# Beginning of a file's name in lower case -> where the model is in a form that is read.
_ELSEWHERE: Mapping[str, str] = {
    "model_v0.9": "PixAI's tagger is read as ONNX: hf:deepghs/pixai-tagger-v0.9-onnx",
    "camie": "the camie tagger is read as ONNX: hf:Camais03/camie-tagger-v2",
    "jtp": f"JTP is published as safetensors only: {_BY_HAND}",
    "model-resnet": "DeepDanbooru is read as ONNX, from deepdanbooru/ of hf:deepghs/imgutils-models, "
    "with a model.json (docs/MODELS.md)",
}


def refusal(names: Collection[str]) -> str:
    """Make the message for a folder without a readable model: its contents, and what to do.

    Args:
        names: Names of its files, also of those in subfolders, with "/" between the parts.
    """
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        suffix = PurePath(name).suffix.lower()
        is_weights, is_code = suffix == _WEIGHTS_SUFFIX, suffix in CODE_SUFFIXES
        if is_weights or is_code:
            why = (
                "weights without the network that they belong to"
                if is_weights
                else "and models of this kind are not loaded because they can run code"
            )
            return f"holds {name}, {why}: {_elsewhere(name, names)}"
    models = sorted(matching(names, f"*{ONNX_SUFFIX}"), key=lambda name: name.count("/"))
    if models and "/" in models[0]:
        return f"holds {models[0]}: give the folder {models[0].rpartition('/')[0]} in it"
    if models:
        model = models[0]
        return (
            f"holds {model} but no {wd.TABLE}: put the model's table beside it, or describe it in a model.json "
            "(docs/MODELS.md)"
        )
    if table := next((name for name in (wd.TABLE, "tag_mapping.json", "tags.csv") if name in names), None):
        return f"holds {table} but no model.onnx: get the model's file from where the table is from"
    return f"holds no model of alti2v and none in ONNX: {_EITHER}"


def is_weights(name: str) -> bool:
    """Return whether a file holds weights, or a whole model, in a form that is not read."""
    return PurePath(name).suffix.lower() in (_WEIGHTS_SUFFIX, *CODE_SUFFIXES)


def _elsewhere(name: str, names: Collection[str]) -> str:
    file = PurePath(name).name.lower()
    for beginning, where in _ELSEWHERE.items():
        if file.startswith(beginning):
            return where
    if wd.TABLE in names:
        return "get model.onnx from the same repository"
    return _EITHER
