"""Recall of near-duplicates, and the number of unrelated pictures that are joined.

The drawn corpus states which pictures repeat an earlier one (recompressed, rescaled, recoloured or cropped by
up to 5 % on each side); mirrored copies are made here. For comparison: all pairs whose hashes are near, which
is what a hash alone can find. With --hashes, the search is timed instead, on random hashes, one in ten of them
a copy with up to six other bits: within one array, where each pair of hashes is compared once, and between two,
where each hash of one is compared with those of the other. Run:

    python benchmarks/near_duplicates.py [--pictures 1600 | --hashes 1500000]
"""

from __future__ import annotations

import argparse
import io
import json
import time

import numpy as np
import numpy.typing as npt
from PIL import Image

from alti2v.dataset.plan.near_duplicates import NEAR_BITS, Appearances, appearances_of, near_duplicate_pairs
from alti2v.dataset.plan.near_hashes import near_pairs
from alti2v.dataset.plan.perceptual_hashes import HashView
from alti2v.demo.drawing.corpus import Corpus, illustration
from alti2v.demo.drawing.render import original
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import PreparedPicture, prepare_picture

_SIZE_PX = 224
_FEW_BITS = 6  # stricter bound, for one hash alone


def main() -> None:
    """Draw, compare all pairs, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1600)
    parser.add_argument("--hashes", type=int, default=0)
    options = parser.parse_args()
    if options.hashes:
        print(json.dumps(_search(options.hashes)))
        return
    pictures = options.pictures
    corpus = Corpus(pictures=pictures)
    posts = [illustration(corpus, number) for number in range(pictures)]
    copies = [post for post in posts if post.near_duplicate_of is not None]
    origin = {post.number: post.near_duplicate_of for post in copies}
    contents = [original(corpus, number) for number in range(pictures)]
    mirrored = [_mirrored(contents[post.number]) for post in copies]
    truth = [origin.get(number, number) for number in range(pictures)]
    truth += [origin[post.number] for post in copies]
    kinds = ["mirrored, of " + _kind(post) for post in copies]
    appearances = _appearances(contents + mirrored)

    kind_of = dict(zip(range(pictures, pictures + len(copies)), kinds, strict=True))
    kind_of |= {post.number: _kind(post) for post in copies}
    methods = {
        f"one hash, <= {_FEW_BITS} bits": _near(appearances, _FEW_BITS),
        f"one hash, <= {NEAR_BITS} bits": _near(appearances, NEAR_BITS),
        "alike_pairs": set(
            zip(*(np.sort(np.stack(near_duplicate_pairs(appearances)), axis=0).tolist()), strict=True)
        ),
    }
    result = {}
    for method, pairs in methods.items():
        true_pairs = {pair for pair in pairs if truth[pair[0]] == truth[pair[1]]}
        found = {copy: (truth[copy], copy) in true_pairs for copy in kind_of}
        result[method] = {
            **{
                kind: f"{sum(found[n] for n, k in kind_of.items() if k == kind)} of "
                f"{sum(k == kind for k in kind_of.values())}"
                for kind in sorted(set(kind_of.values()))
            },
            "unrelated pairs joined": len(pairs - true_pairs),
        }
    for method, counts in result.items():
        print(method)
        for name, count in counts.items():
            print(f"  {name:32} {count}")
    print(json.dumps(result))


def _kind(post: object) -> str:
    edit = post.edit  # type: ignore[attr-defined]
    if any(edit.crop):
        return "cropped"
    if edit.scale != 1:
        return "rescaled"
    return "recoloured" if edit.brightness != 1 else "recompressed"


def _mirrored(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        stream = io.BytesIO()
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _appearances(contents: list[bytes]) -> Appearances:
    pictures = [prepare_picture(content, ImageRecipe(size=_SIZE_PX)) for content in contents]
    assert all(isinstance(picture, PreparedPicture) for picture in pictures)
    hashes, thumbnails = appearances_of(
        [picture.luminance for picture in pictures if isinstance(picture, PreparedPicture)]
    )
    return Appearances(hashes=lambda number: hashes[:, number].copy(), thumbnails=thumbnails)


def _near(appearances: Appearances, bits: int) -> set[tuple[int, int]]:
    whole: npt.NDArray[np.uint64] = appearances.hashes(HashView.WHOLE)
    first, second = np.nonzero(np.triu(np.bitwise_count(whole[:, None] ^ whole[None]) <= bits, 1))
    return set(zip(first.tolist(), second.tolist(), strict=True))


def _search(count: int) -> dict[str, float]:
    """Time the search for near hashes within and between arrays, in processor time."""
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 1 << 64, count, np.uint64)
    copies = np.flatnonzero(rng.random(count) < 0.1)[1:]
    hashes[copies] = hashes[(copies * rng.random(len(copies))).astype(np.int64)]
    for _ in range(6):
        is_changed = rng.random(len(copies)) < 0.5
        bits = rng.integers(0, 64, int(is_changed.sum())).astype(np.uint64)
        hashes[copies[is_changed]] ^= np.uint64(1) << bits
    others = hashes ^ np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
    measured: dict[str, float] = {"hashes": count}
    for name, right in (("within", hashes), ("between", others)):
        begun_s = time.process_time()
        first, _ = near_pairs(hashes, right, near_bits=NEAR_BITS)
        measured |= {f"{name}_cpu_s": round(time.process_time() - begun_s, 1), f"{name}_pairs": len(first)}
    return measured


if __name__ == "__main__":
    main()
