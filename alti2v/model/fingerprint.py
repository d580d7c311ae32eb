"""Fingerprint of a model: the hash of its weights. Does not import TensorFlow."""

from __future__ import annotations

import hashlib
from pathlib import Path

from alti2v.errors import UsageError
from alti2v.model.onnx.contract import ONNX_FILE
from alti2v.storage.layout import MODEL_DIR, WEIGHTS_FILE


def model_hash(model: Path) -> str:
    """Return the SHA-256 of model.onnx, or of the weights of a RUN.

    Raises:
        UsageError: There is no model.
    """
    for file in (model / ONNX_FILE, model / MODEL_DIR / WEIGHTS_FILE, model / WEIGHTS_FILE):
        if file.is_file():
            with file.open("rb") as content:
                return hashlib.file_digest(content, "sha256").hexdigest()
    raise UsageError(f"{model} holds no model: give a RUN or an exported folder")
