"""Comparison of an exported model with the network on real pictures, fed as other people's clients do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alti2v.arrays import Float32Array, Uint8Array, sigmoid
from alti2v.errors import DamagedError
from alti2v.model.onnx.check_folder import as_fed, open_session
from alti2v.model.onnx.contract import Contract
from alti2v.model.onnx.labels import Label
from alti2v.numerals import counted
from alti2v.pictures.decode import Unusable
from alti2v.pictures.framing import Framing, framed_pixels, letterbox
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import dataset_pixels, encoded_pixels

_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientParity:
    """Differences between clients of an exported model and `alti2v tag RUN`.

    Attributes:
        pictures: Number of pictures of the dataset that were compared.
        largest, mean: Difference of two probabilities of one tag.
        tags: Number of tags that either of the two gives these pictures, at the threshold.
        changed: Number of tags that only one of the two gives.
        threshold: Threshold of all tags.
    """

    pictures: int
    largest: float
    mean: float
    tags: int
    changed: int
    threshold: float


def client_parity(
    model: bytes,
    contract: Contract,
    rows: Sequence[Label],
    network: Any,  # noqa: ANN401 - keras.Model
    recipe: ImageRecipe,
    pictures: Sequence[bytes],
    *,
    threshold: float,
) -> ClientParity:
    """Compare on pictures: decoded, padded and resized as clients do, and prepared as for the network.

    Args:
        model: Content of the ONNX file.
        contract: Contract of its format.
        rows: Rows of its table; constants are not compared.
        network: Network to compare with.
        recipe: Recipe of the pictures that it was trained on, in its size.
        pictures: Files of the pictures.
        threshold: Tags with at least this probability count as given.

    Raises:
        DamagedError: A picture cannot be decoded.
    """
    places = [place for place, row in enumerate(rows) if row.output is not None]
    outputs = [row.output for row in rows if row.output is not None]
    framing = Framing(steps=(letterbox(contract.side_px or recipe.size),))
    session = open_session(model)
    name = session.get_inputs()[0].name
    differences, sides = [], []
    for start in range(0, len(pictures), _BATCH):
        part = pictures[start : start + _BATCH]
        own = np.stack([_usable(dataset_pixels(file, recipe), file, recipe) for file in part])
        expected = np.asarray(network.predict_on_batch(own)["probabilities"])[:, outputs]
        taken = np.stack([_required(framed_pixels(file, framing)) for file in part]).astype(np.float32)
        values = session.run(None, {name: as_fed(taken[..., ::-1] if contract.bgr else taken, contract)})
        found = values[contract.tags][:, places]
        found = sigmoid(found) if contract.logits else found
        differences.append(np.abs(found - expected))
        sides.append((found >= threshold, expected >= threshold))
    all_differences: Float32Array = np.concatenate(differences)
    return ClientParity(
        pictures=len(pictures),
        largest=float(all_differences.max()),
        mean=float(all_differences.mean()),
        tags=int(sum((by_client | by_network).sum() for by_client, by_network in sides)),
        changed=int(sum((by_client ^ by_network).sum() for by_client, by_network in sides)),
        threshold=threshold,
    )


def _usable(pixels: Uint8Array | Unusable | None, file: bytes, recipe: ImageRecipe) -> Uint8Array:
    return _required(encoded_pixels(file, recipe) if pixels is None else pixels)


def _required(pixels: Uint8Array | Unusable) -> Uint8Array:
    if isinstance(pixels, Unusable):
        raise DamagedError(
            f"a picture of the dataset cannot be decoded ({pixels.reason}): run `alti2v verify` on it"
        )
    return pixels


def parity_line(clients: ClientParity, *, of_originals: bool) -> str:
    """Describe the differences of clients in a line."""
    which = (
        counted(clients.pictures, "original of the validation split", "originals of the validation split")
        if of_originals
        else counted(clients.pictures, "picture") + " of the validation split, enlarged from the dataset's size"
    )
    return (
        f"On {which}, decoded, padded and resized as other programs do it, probabilities "
        f"differ from those of the run by {clients.mean:.4f} on average and {clients.largest:.3f} at most; "
        f"{clients.changed:,} of {clients.tags:,} predictions are on the other side of the threshold "
        f"{clients.threshold:.4f}. Most of this is due to the JPEG that the run makes first."
    )
