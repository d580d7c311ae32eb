"""Trial of a loaded model: two pictures together, and one of them alone."""

from __future__ import annotations

import numpy as np

from alti2v.model.loading.description import ModelInput
from alti2v.model.loading.session import Forward, white_pictures

# Between a batch and a single picture; float16 and numbers of 8 bits that are scaled for each batch reach 0.01.
NOISE = 0.05


def batch_difference(forward: Forward, takes: ModelInput) -> float:
    """Return the largest difference of a probability between a picture alone and beside another one.

    Raises:
        DamagedError: The answers are not probabilities of these pictures.
    """
    pictures = white_pictures(takes, 2)
    pictures[0] = np.random.default_rng(0).integers(0, 256, pictures[0].shape)
    together = forward(pictures)[0]
    alone = forward(pictures[:1])[0]
    return float(np.abs(together[0] - alone[0]).max(initial=0.0))


def batch_note(difference: float) -> str | None:
    """Describe a difference that exceeds noise; None for smaller ones."""
    if difference <= NOISE:
        return None
    return (
        f"the probabilities of a picture change by up to {difference:.2g} with the other pictures of its "
        "batch: give --batch-size 1"
    )
