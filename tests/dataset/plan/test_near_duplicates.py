"""Near-duplicates and related posts are found exactly, and nothing else is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from alti2v.dataset.plan.components import related_groups
from alti2v.dataset.plan.near_duplicates import Appearances, appearances_of, groups
from alti2v.dataset.plan.near_hashes import near_pairs
from alti2v.dataset.plan.perceptual_hashes import perceptual_hashes
from alti2v.dataset.plan.thumbnails import correlations, thumbnails_of
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import PreparedPicture, prepare_picture
from tests.dataset.helpers.tiny_store import drawing, encoded


def reference_components(nodes: list[int], links: list[tuple[int, int]]) -> dict[int, int]:
    """Return the smallest member of each node's component, by brute force."""
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
    """Chains of any length and order, also through posts that are missing."""
    listed = sorted(ids)
    ends = np.array(links, np.int64).reshape(-1, 2)
    found = related_groups(np.array(listed), (ends[:, 0], ends[:, 1]))
    nodes = sorted(ids | {node for link in links for node in link})
    expected = reference_components(nodes, links)

    assert [expected[post_id] for post_id in listed] == found.tolist()


def clustered_hashes(rng: np.random.Generator, clusters: int) -> np.ndarray:
    """Return hashes around random centres, at all distances from 0 to 12, and some exact repetitions."""
    centres = rng.integers(0, 2**64, clusters, np.uint64)
    hashes = []
    for centre in centres:
        hashes.append(centre)
        for distance in range(0, 13, 2):
            flips = rng.choice(64, distance, replace=False)
            hashes.append(centre ^ np.uint64(sum(1 << int(bit) for bit in flips)))
    return rng.permutation(np.array(hashes, np.uint64))


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32), st.integers(0, 9))
def test_near_pairs_are_those_of_brute_force(seed: int, near_bits: int) -> None:
    """Exactly the pairs within the distance, in one array and between two, whose rows are the same pictures."""
    rng = np.random.default_rng(seed)
    left, right = np.unique(clustered_hashes(rng, 9)), np.unique(clustered_hashes(rng, 5))
    right = np.concatenate([right, left[:7] ^ np.uint64(5)])
    right = rng.permutation(np.unique(right))
    distances = np.bitwise_count(left[:, None] ^ left[None])
    within = near_pairs(left, left, near_bits=near_bits)
    between = near_pairs(left, right, near_bits=near_bits)

    assert sorted(zip(*(e.tolist() for e in within), strict=True)) == [
        (a, b) for a, b in zip(*(e.tolist() for e in np.nonzero(distances <= near_bits)), strict=True) if a < b
    ]
    apart = np.nonzero(np.bitwise_count(left[:, None] ^ right[None]) <= near_bits)
    assert sorted(zip(*(e.tolist() for e in between), strict=True)) == [
        (a, b) for a, b in zip(*(e.tolist() for e in apart), strict=True) if a != b
    ]


def test_near_pairs_of_many_rows_in_one_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are examined in blocks, with the same result."""
    rng = np.random.default_rng(7)
    hashes = rng.integers(0, 2**20, 400, np.uint64)
    whole = [ends.tolist() for ends in near_pairs(hashes, hashes, near_bits=5)]
    monkeypatch.setattr("alti2v.dataset.plan.near_hashes._PAIRS_AT_ONCE", 50)
    pieces = [ends.tolist() for ends in near_pairs(hashes, hashes, near_bits=5)]

    assert whole == pieces
    assert whole[0]


@pytest.mark.parametrize("rows", [100, 1 << 15])
def test_near_pairs_of_full_tables_are_those_of_brute_force(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with several hashes for most keys, of which the first are found in tables and the others search."""
    monkeypatch.setattr("alti2v.dataset.plan.near_hashes._ROWS_AT_ONCE", rows)
    hashes = np.unique(clustered_hashes(np.random.default_rng(3), 400))
    found = near_pairs(hashes, hashes, near_bits=8)
    near = np.nonzero(np.triu(np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 8, 1))

    assert np.array_equal(found, near)
    assert len(near[0]) > 2_000


def appearances_in(contents: list[bytes]) -> Appearances:
    pictures = [prepare_picture(content, ImageRecipe(size=96)) for content in contents]
    hashes, thumbnails = appearances_of(
        [picture.luminance for picture in pictures if isinstance(picture, PreparedPicture)]
    )
    return Appearances(hashes=lambda number: hashes[:, number].copy(), thumbnails=thumbnails)


def test_groups_join_families_and_likeness() -> None:
    """1 and 3 are similar, 3 and 9 related: one group, named after its smallest picture."""
    ids = np.array([1, 3, 5, 9])
    related = np.array([1, 2, 5, 2])  # the parent of 3 and 9 is post 2, which is missing
    same, other, third = (encoded(drawing(seed, width=200, height=200)) for seed in (1, 2, 3))

    assert groups(ids, related, appearances_in([same, same, other, third])).tolist() == [1, 1, 5, 1]


def test_equal_hashes_are_looked_at() -> None:
    """Pictures with equal hashes and different thumbnails are not near-duplicates; uniform pictures are."""
    rng = np.random.default_rng(1)
    thumbnails = rng.integers(0, 256, (5, 16, 16), np.uint8)
    thumbnails[2] = thumbnails[0]
    thumbnails[3:] = np.array([3, 200], np.uint8)[:, None, None]
    luminances = Appearances(hashes=lambda _: np.zeros(5, np.uint64), thumbnails=thumbnails)

    assert groups(np.arange(1, 6), np.arange(1, 6), luminances).tolist() == [1, 2, 1, 4, 4]


def copies(image: Image.Image) -> list[bytes]:
    """Yield typical edits of a picture before it is posted again."""
    return [
        encoded(image, quality=95),
        encoded(image, quality=40),
        encoded(image, "PNG"),
        encoded(image.resize((image.width // 2, image.height // 2)), quality=85),
        encoded(image.resize((image.width * 2, image.height * 2)), quality=85),
        encoded(ImageEnhance.Brightness(image).enhance(1.1), quality=85),
        encoded(ImageEnhance.Color(image).enhance(0.7), quality=85),
    ]


def test_copies_of_a_picture_are_alike_and_others_are_not() -> None:
    """Recompressed, rescaled, recoloured, cropped and mirrored copies form a group; other pictures do not join
    it.
    """
    originals = [drawing(seed, width=300, height=400) for seed in range(12)]
    contents, expected = [], []
    for number, image in enumerate(originals):
        of_image = [
            *copies(image),
            encoded(image.crop((9, 5, 297, 390))),
            encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((4, 8, 290, 399))),
        ]
        contents += of_image
        expected += [1 + number * len(of_image)] * len(of_image)
    ids = np.arange(1, len(contents) + 1)

    assert groups(ids, ids, appearances_in(contents)).tolist() == expected


def test_the_mirrored_hashes_are_those_of_the_mirror_image() -> None:
    """Without a second transform: the odd frequencies across change their signs."""
    luminance = np.asarray(drawing(3, width=64, height=64).convert("L"))
    hashes, mirrored = perceptual_hashes(np.stack([luminance, luminance[:, ::-1]])).tolist()

    assert mirrored == [*hashes[2:], *hashes[:2]]
    assert len(set(hashes)) == 4


def slow_hash(luminance: np.ndarray) -> int:
    """Hash as in the paper: averages of 32 x 32 cells, a DCT with four digits, signs."""
    edges = np.linspace(0, len(luminance), 33)
    line = np.stack(
        [np.interp(np.arange(len(luminance) + 1), edges[cell : cell + 2], (0, 1)) for cell in range(32)]
    )
    averages = np.diff(line, axis=1) @ luminance @ np.diff(line, axis=1).T
    waves = np.rint(4096 * np.cos(np.pi * np.arange(11)[:, None] * (2 * np.arange(32) + 1) / 64))
    frequencies = waves @ averages @ waves.T
    order = sorted(((d, a) for d in range(11) for a in range(11)), key=lambda at: (sum(at), at[0]))[1:65]
    values = np.array([frequencies[at] for at in order])
    return sum(1 << (63 - place) for place in np.flatnonzero(values > np.median(values)).tolist())


@pytest.mark.parametrize("seed", range(5))
def test_hashes_are_those_of_the_paper(seed: int) -> None:
    """For the whole picture, and for the picture without 1/32 at each side."""
    luminance = np.asarray(drawing(seed, width=64, height=64).convert("L"))
    whole, trimmed, *_ = perceptual_hashes(luminance[None])[0].tolist()

    assert (whole, trimmed) == (slow_hash(luminance), slow_hash(luminance[2:62, 2:62]))


def test_many_pictures_are_hashed_as_each_alone() -> None:
    """Also with more pictures than one block holds, and without any."""
    luminances = np.stack([np.asarray(drawing(seed, width=64, height=64).convert("L")) for seed in range(35)])
    alone = [perceptual_hashes(luminance[None])[0].tolist() for luminance in luminances]

    assert perceptual_hashes(luminances).tolist() == alone
    assert perceptual_hashes(luminances[:0]).shape == (0, 4)


def test_thumbnails_are_those_of_pillow() -> None:
    """Averages of whole blocks, rounded as Pillow's box filter rounds them."""
    luminances = np.stack([np.asarray(drawing(seed, width=64, height=64).convert("L")) for seed in range(5)])
    luminances[3:] = np.random.default_rng(0).integers(0, 256, (2, 64, 64))
    by_pillow = [Image.fromarray(luminance).resize((16, 16), Image.Resampling.BOX) for luminance in luminances]

    assert np.array_equal(thumbnails_of(luminances), np.stack([np.asarray(small) for small in by_pillow]))


def test_golden_perceptual_hash() -> None:
    """The hash of a fixed pattern is fixed, because plans must be the same on every machine."""
    down, across = np.mgrid[0:32, 0:32]
    pattern = ((down * 7 + across * across * 3) % 256).astype(np.uint8)
    flat = np.full((64, 64), 200, np.uint8)

    hashes = perceptual_hashes(np.stack([np.kron(pattern, np.ones((2, 2), np.uint8)), flat, 0 * flat]))
    assert hashes[0, 0] == 36294496131403743
    assert hashes[1].tolist() == hashes[2].tolist()


def test_golden_correlations() -> None:
    """Correlations are those of numpy, or better under a cut; a ramp and its mirror image do not correlate."""
    down, across = np.mgrid[0:16, 0:16]
    thumbnails = np.stack([(down * 16 + across) % 256, (down * 15 + across * 2) % 256, across * 9]).astype(
        np.uint8
    )
    found = correlations(thumbnails, np.array([0, 0, 2]), np.array([1, 2, 2]), is_mirrored=False)
    by_numpy = np.corrcoef(thumbnails[0].ravel(), thumbnails[1].ravel())[0, 1]

    assert found[2] == pytest.approx(1.0)
    assert by_numpy - 1e-9 <= found[0] < 1
    assert found[1] < 0.2
    assert correlations(thumbnails, np.array([2]), np.array([2]), is_mirrored=True)[0] < -0.9


def stretched(thumbnail: np.ndarray, cuts: tuple[float, float, float, float]) -> np.ndarray:
    """Return a thumbnail after a cut at top, bottom, left and right, at its old size, in 32nds of a value."""
    for head, tail in (cuts[2:], cuts[:2]):
        places = np.clip((head + (np.arange(16) + 0.5) / 16 * (1 - head - tail)) * 16 - 0.5, 0, 15)
        left = np.minimum(places.astype(int), 14)
        weight = np.rint((places - left) * 32)
        along = thumbnail.astype(np.int64)
        thumbnail = (along[:, left] * (32 - weight) + along[:, left + 1] * weight).T
    return thumbnail


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), is_mirrored=st.booleans())
def test_correlations_are_the_best_of_all_cuts(seed: int, is_mirrored: bool) -> None:
    """The result is numpy's correlation without a cut if that is high enough, else the best under any cut."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 4, 4), np.uint8).repeat(4, 1).repeat(4, 2)
    thumbnails = np.concatenate([coarse, np.roll(coarse, 1, 2)])
    first, second = (axis.ravel() for axis in np.mgrid[0:6, 0:6])
    found = correlations(thumbnails, first, second, is_mirrored=is_mirrored)

    def by_numpy(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])

    for one, other, value in zip(thumbnails[first], thumbnails[second], found, strict=True):
        shown = other[:, ::-1] if is_mirrored else other
        expected = by_numpy(one, shown)
        if expected < 0.95:
            ends = (0.0, 0.025, 0.05)
            cuts = list(itertools.product(ends, ends, ends, ends))
            expected = max(
                *(by_numpy(one, stretched(shown, cut)) for cut in cuts),
                *(by_numpy(stretched(one, cut), shown) for cut in cuts),
            )
        assert value == pytest.approx(expected, abs=1e-9)


def test_flat_thumbnails_agree_with_each_other_only() -> None:
    """Pictures of uniform brightness."""
    thumbnails = np.stack([np.full((16, 16), 9), np.full((16, 16), 200), np.arange(256).reshape(16, 16)])
    found = correlations(
        thumbnails.astype(np.uint8), np.array([0, 0, 2]), np.array([1, 2, 1]), is_mirrored=False
    )

    assert found.tolist() == [1.0, 0.0, 0.0]
