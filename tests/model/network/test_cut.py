"""Networks cut in two: the parts make the whole, wherever the cut is."""

from __future__ import annotations

import numpy as np
import pytest

from alti2v.model.network.build import Architecture, build_network
from alti2v.model.network.cut import between, cut
from alti2v.model.recipes import HEAD_ONLY, Head

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("head", list(Head))
def test_both_parts_make_the_whole(head: Head) -> None:
    """What the second part makes of the numbers at a cut is what the network makes of the pictures."""
    network = build_network(Architecture(size=64, tags=5, head=head, features=8, dropout=0.0), seed=1)
    pictures = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    whole = network.logits.predict_on_batch(pictures)
    for first in ("block3_conv1", "block4_conv1", "block5_conv1", HEAD_ONLY):
        parts = cut(network, first)
        numbers = parts.trunk.predict_on_batch(pictures)

        assert numbers.ndim == 2
        np.testing.assert_allclose(parts.head.predict_on_batch(numbers), whole, rtol=1e-4, atol=1e-4)
    numbers = cut(network, "block5_conv1").trunk.predict_on_batch(pictures)
    np.testing.assert_allclose(
        between(network, "block5_conv1", HEAD_ONLY).predict_on_batch(numbers),
        cut(network).trunk.predict_on_batch(pictures),
        rtol=1e-4,
        atol=1e-4,
    )
