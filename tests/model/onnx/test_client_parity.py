"""Clients' results of an export on real files, beside those of the run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.model.onnx.client_parity import ClientParity, client_parity
from alti2v.model.onnx.contract import CONTRACTS, Contract
from alti2v.model.onnx.labels import Label, rating_constants, wd_labels
from alti2v.model.onnx.writer import arrange_outputs, head_weights, write_onnx
from alti2v.model.options.choices import Format
from alti2v.pictures.recipe import ImageRecipe
from alti2v.storage.store import read_originals
from tests.dataset.helpers.tiny_store import tiny_posts, write_store
from tests.model.helpers.tiny_run import TAGS, random_model

pytest.importorskip("onnxruntime", reason="pip install 'alti2v[export]'")
pytest.importorskip("onnx", reason="pip install 'alti2v[export]'")


def photograph(seed: int, size: tuple[int, int]) -> bytes:
    """Draw smooth blobs of colour, as a JPEG."""
    blobs = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.tf
def test_clients_are_near_the_run_and_a_wrong_row_is_seen() -> None:
    """Smooth pictures hardly differ; with colours at half resolution less than without; swapped rows differ."""
    saved: Any = random_model()
    files = [photograph(seed, size) for seed, size in enumerate([(300, 200), (200, 300), (500, 500)])]
    rows = wd_labels(TAGS, rating_constants({"general": 3})).rows
    weights = arrange_outputs(head_weights(saved.network), rows)
    recipe = ImageRecipe(size=32)

    def parity(contract: Contract, table: Sequence[Label]) -> ClientParity:
        model = write_onnx(saved.network, saved.architecture, weights, contract)
        return client_parity(model, contract, table, saved.network, recipe, files, threshold=0.5)

    plain, halved = (replace(CONTRACTS[Format.WD], halves_colour=halves) for halves in (False, True))
    found = {False: parity(plain, rows), True: parity(halved, rows)}
    wrong = parity(halved, (*rows[:4], rows[5], rows[4], *rows[6:]))

    assert found[True].pictures == 3
    assert found[True].mean < found[False].mean < 0.03
    assert found[True].changed <= found[True].tags
    assert wrong.largest > 3 * found[True].largest


def test_originals_of_a_store_are_found(tmp_path: Path) -> None:
    """The bytes of the board, whatever their tar file; a post without a file is left out."""
    posts = tiny_posts(12)
    posts[3] = replace(posts[3], content=None)
    store = write_store(tmp_path / "store", posts, posts_per_tar=5)
    wanted = {post.id: post.content for post in (posts[0], posts[3], posts[11])}

    assert dict(read_originals(store, list(wanted))) == {k: v for k, v in wanted.items() if v is not None}
