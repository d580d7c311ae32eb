"""Trial of a loaded model: two pictures together, and one of them alone."""

from __future__ import annotations

import numpy as np

from alti2v.model.taggers.description import ModelInput
from alti2v.model.taggers.session import Forward
from alti2v.pictures.framing import Framing

# Between a batch and a single picture; float16 and numbers of 8 bits that are scaled for each batch reach 0.01.
NOISE = 0.05


def batch_difference(forward: Forward, takes: ModelInput) -> float:
    """Return the largest difference of a probability between a picture alone and beside another one.

    Raises:
        DamagedError: The answers are not probabilities of these pictures.
    """
    preparation = takes.preparation
    channels = preparation.channels if isinstance(preparation, Framing) else 3
    noise = np.random.default_rng(0).integers(0, 256, (takes.size, takes.size, channels)).astype(np.uint8)
    together = forward(np.stack([noise, np.full_like(noise, 255)]))[0]
    alone = forward(noise[None])[0]
    return float(np.abs(together[0] - alone[0]).max(initial=0.0))


def batch_note(difference: float) -> str | None:
    """Describe a difference that is more than noise; None if it is not."""
    if difference <= NOISE:
        return None
    return (
        f"the probabilities of a picture change by up to {difference:.2g} with the other pictures of its "
        "batch: give --batch-size 1"
    )
