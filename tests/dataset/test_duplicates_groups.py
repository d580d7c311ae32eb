"""What looks alike or belongs together is found exactly, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from alti2v.dataset.duplicates import NEAR_BITS, families, groups, near_pairs, perceptual_hash
from alti2v.dataset.images import Picture, prepare_picture
from alti2v.dataset.manifest import ImageRecipe
from tests.dataset.tiny_store import drawing, encoded


def reference_components(nodes: list[int], links: list[tuple[int, int]]) -> dict[int, int]:
    """The smallest member of each node's component, by brute force."""
    of = {node: {node} for node in nodes}
    for first, second in links:
        merged = of[first] | of[second]
        for node in merged:
            of[node] = merged
    return {node: min(members) for node, members in of.items()}


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40),
    st.sets(st.integers(1, 30), min_size=1),
)
def test_families_are_the_chains_of_links(links: list[tuple[int, int]], ids: set[int]) -> None:
    """Chains of any length and order, through posts that are not there, too."""
    listed = sorted(ids)
    ends = np.array(links, np.int64).reshape(-1, 2)
    found = families(np.array(listed), (ends[:, 0], ends[:, 1]))
    nodes = sorted(ids | {node for link in links for node in link})
    expected = reference_components(nodes, links)

    assert [expected[post_id] for post_id in listed] == found.tolist()


def clustered_hashes(rng: np.random.Generator, clusters: int) -> np.ndarray:
    """Hashes around random centres, at all distances from 0 to 12, and some exact repetitions."""
    centres = rng.integers(0, 2**64, clusters, np.uint64)
    hashes = []
    for centre in centres:
        hashes.append(centre)
        for distance in range(0, 13, 2):
            flips = rng.choice(64, distance, replace=False)
            hashes.append(centre ^ np.uint64(sum(1 << int(bit) for bit in flips)))
    return rng.permutation(np.array(hashes, np.uint64))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 7))
def test_near_pairs_join_what_brute_force_joins(seed: int, near_bits: int) -> None:
    """Exactly the components of all pairs within the distance: none missed, none invented."""
    hashes = clustered_hashes(np.random.default_rng(seed), 12)
    rows = list(range(len(hashes)))
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    true_links = [(int(a), int(b)) for a, b in zip(*np.nonzero(distances <= near_bits), strict=True)]
    found = list(zip(*(ends.tolist() for ends in near_pairs(hashes, near_bits=near_bits)), strict=True))

    assert all(distances[a, b] <= near_bits for a, b in found)
    assert reference_components(rows, true_links) == reference_components(rows, found)


def test_near_pairs_of_many_rows_in_one_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are examined a bounded number at a time, with the same result."""
    rng = np.random.default_rng(7)
    hashes = rng.integers(0, 2**20, 400, np.uint64)
    whole = [ends.tolist() for ends in near_pairs(hashes, near_bits=5)]
    monkeypatch.setattr("alti2v.dataset.duplicates._PAIRS_AT_ONCE", 50)
    pieces = [ends.tolist() for ends in near_pairs(hashes, near_bits=5)]

    assert sorted(zip(*whole, strict=True)) == sorted(zip(*pieces, strict=True))


def test_a_distance_that_the_search_cannot_promise() -> None:
    """Beyond 7 bits the search would not be exact, so it refuses."""
    with pytest.raises(ValueError, match="near_bits 8"):
        near_pairs(np.zeros(1, np.uint64), near_bits=8)


def test_groups_join_families_and_likeness() -> None:
    """1 and 3 look alike, 3 and 9 are a family: one group, named by its smallest picture."""
    ids = np.array([1, 3, 5, 9])
    family = np.array([1, 2, 5, 2])  # the parent of 3 and 9 is post 2, which is not here
    hashes = np.array([0, 1, 2**40 - 1, 2**63 + 2**50 - 2**20], np.uint64)

    assert groups(ids, family, hashes).tolist() == [1, 1, 5, 1]


def hash_of(content: bytes) -> int:
    picture = prepare_picture(content, ImageRecipe(size=96))
    assert isinstance(picture, Picture)
    return picture.phash


def copies(image: Image.Image) -> list[bytes]:
    """What people do to a picture before they post it again."""
    return [
        encoded(image, quality=95),
        encoded(image, quality=40),
        encoded(image, "PNG"),
        encoded(image.resize((image.width // 2, image.height // 2)), quality=85),
        encoded(image.resize((image.width * 2, image.height * 2)), quality=85),
        encoded(ImageEnhance.Brightness(image).enhance(1.1), quality=85),
        encoded(ImageEnhance.Color(image).enhance(0.7), quality=85),
    ]


def test_copies_of_a_picture_are_near_and_others_are_not() -> None:
    """Recompressed, rescaled and recoloured copies stay within the limit; others do not."""
    originals = [drawing(seed, width=300, height=400) for seed in range(12)]
    hashes = [[hash_of(copy) for copy in copies(image)] for image in originals]

    for number, own in enumerate(hashes):
        assert max((own[0] ^ copy).bit_count() for copy in own) <= NEAR_BITS
        for other in hashes[:number]:
            assert min((own[0] ^ copy).bit_count() for copy in other) > 2 * NEAR_BITS


def test_golden_perceptual_hash() -> None:
    """The hash of a fixed pattern is fixed: plans must be the same on every machine."""
    down, across = np.mgrid[0:32, 0:32]

    assert perceptual_hash(((down * 7 + across * across * 3) % 256).astype(np.uint8)) == 36294496131403743
    assert perceptual_hash(np.full((32, 32), 200, np.uint8)) == perceptual_hash(np.zeros((32, 32), np.uint8))
