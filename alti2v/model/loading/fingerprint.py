"""Fingerprint of a model: the hash of its weights. Does not import TensorFlow."""

from __future__ import annotations

from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.loading.folder import recognised
from alti2v.model.loading.hub import local_model
from alti2v.storage.checksum import file_sha256
from alti2v.storage.directory import require_plain_files
from alti2v.storage.layout import MODEL_DIR, WEIGHTS_FILE


def model_hash(model: Path) -> str:
    """Return the SHA-256 of an ONNX model, or of the weights of a RUN.

    Raises:
        UsageError: There is no model, or a link leads out of its folder.
    """
    model = local_model(model)
    found = recognised(model)
    if found is None and model.is_dir():
        require_plain_files(model)
    of_onnx = [] if found is None else [found[0] / found[1].model_file]
    for file in (*of_onnx, model / MODEL_DIR / WEIGHTS_FILE, model / WEIGHTS_FILE):
        if file.is_file():
            return file_sha256(file)
    raise UsageError(f"{model} holds no model: give a RUN or an exported folder")
