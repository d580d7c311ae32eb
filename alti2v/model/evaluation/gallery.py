"""Which pictures a report shows: picked while they stream by, so that no others are kept.

Pure numpy but for the JPEG at the end. Picks do not depend on the order of the pictures.
"""

from __future__ import annotations

import bisect
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from alti2v.model.arrays import Float64Array
from alti2v.storage.order import random_order

MAX_SIDE = 320  # px; a report is one file, and its cards are narrower than this
_JPEG_QUALITY = 88
MAX_SHOWN_TAGS = 30
MAX_ADDITIONS = 1000


class GalleryReason(StrEnum):
    """Why a picture is in the gallery."""

    RANDOM = "random"
    WORST = "most wrong"
    CONFIDENT = "most confident"  # whether rightly so or not
    BEST = "best"


class TagVerdict(StrEnum):
    """What became of one tag of one picture."""

    HIT = "hit"  # predicted, and on the board
    MISSED = "missed"  # on the board, not predicted
    EXTRA = "extra"  # predicted, not on the board: wrong, or a label that the board lacks


@dataclass(frozen=True, slots=True)
class ShownTag:
    """A tag under a picture; `index` is the row of the tag."""

    index: int
    probability: float
    verdict: TagVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryPicture:
    """A picture of the gallery.

    Attributes:
        id: the board's post number.
        picks: why it was chosen; one reason or more.
        jpeg: the picture, longest side at most MAX_SIDE px.
        f1: of this picture's tags.
        hits, missed, extra: how many tags.
        tags: by descending probability, at most MAX_SHOWN_TAGS.
    """

    id: int
    picks: tuple[GalleryReason, ...]
    jpeg: bytes = field(repr=False)
    f1: float
    hits: int
    missed: int
    extra: int
    tags: tuple[ShownTag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A tag that the board may have forgotten: a confident prediction that counts as wrong."""

    id: int
    jpeg: bytes = field(repr=False)
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Addition:
    """A confident prediction that counts as wrong, without its picture: for a list to work through."""

    id: int
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: int
    image: npt.NDArray[np.uint8]  # (S, S, 3)
    probabilities: npt.NDArray[np.float32]  # (T,)
    labels: npt.NDArray[np.uint8]  # (T,)


@dataclass(slots=True)
class Shortlists:
    """The pictures that lead by each measure so far; lowest key first.

    Attributes:
        threshold: from which probability a tag counts as predicted.
        size: how many pictures each list keeps.
    """

    threshold: float
    size: int
    _lists: dict[str, list[tuple[tuple[float, ...], _Candidate]]] = field(default_factory=dict)
    # (3, A) float64: probability, id and tag of the best additions so far, the most probable first.
    _additions: Float64Array = field(default_factory=lambda: np.zeros((3, 0)))


def offer(
    shortlists: Shortlists,
    *,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
) -> None:
    """Consider a batch, in place: (B, S, S, 3), (B, T), (B,), (B, T)."""
    for name, keys in _keys(labels, ids, probabilities, threshold=shortlists.threshold).items():
        kept = shortlists._lists.setdefault(name, [])
        for row in np.lexsort(keys.T[::-1])[: shortlists.size]:
            key = tuple(float(part) for part in keys[row])
            if np.isinf(key[0]) or (len(kept) == shortlists.size and key >= kept[-1][0]):
                break
            # Copies: the batch itself must not stay in memory for one of its rows.
            candidate = _Candidate(
                int(ids[row]), images[row].copy(), probabilities[row].copy(), labels[row].copy()
            )
            bisect.insort(kept, (key, candidate), key=lambda entry: entry[0])
            del kept[shortlists.size :]
    rows, tags = np.nonzero((labels == 0) & (probabilities >= np.float32(shortlists.threshold)))
    found = np.concatenate(
        [shortlists._additions, np.stack([probabilities[rows, tags], ids[rows], tags]).astype(np.float64)],
        axis=1,
    )
    shortlists._additions = found[:, np.lexsort((found[2], found[1], -found[0]))[:MAX_ADDITIONS]]


def pictures(shortlists: Shortlists) -> tuple[GalleryPicture, ...]:
    """The gallery, by `GalleryReason`; a picture in several lists stands where its first one is."""
    candidates: dict[int, _Candidate] = {}
    picks: dict[int, list[GalleryReason]] = {}
    for pick in GalleryReason:
        for _, candidate in shortlists._lists.get(pick, []):
            candidates.setdefault(candidate.id, candidate)
            picks.setdefault(candidate.id, []).append(pick)
    return tuple(
        _picture(candidate, tuple(picks[number]), shortlists.threshold)
        for number, candidate in candidates.items()
    )


def suggestions(shortlists: Shortlists) -> tuple[Suggestion, ...]:
    """The most confident tags that the board does not have, at most one a picture, most confident first."""
    found = []
    for _, candidate in shortlists._lists.get("suggestion", []):
        index = int(np.where(candidate.labels > 0, -1.0, candidate.probabilities).argmax())
        found.append(
            Suggestion(
                id=candidate.id,
                jpeg=encode_jpeg(candidate.image),
                index=index,
                probability=float(candidate.probabilities[index]),
            )
        )
    return tuple(found)


def additions(shortlists: Shortlists) -> tuple[Addition, ...]:
    """All tags that the board may have forgotten, the most confident first, at most MAX_ADDITIONS."""
    return tuple(
        Addition(id=int(number), index=int(tag), probability=probability)
        for probability, number, tag in shortlists._additions.T.tolist()
    )


def encode_jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG, longest side at most MAX_SIDE px."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return stream.getvalue()


def _keys(
    labels: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    *,
    threshold: float,
) -> dict[str, Float64Array]:
    """Per list, (B, 3) sort keys, lowest first; the id comes last, so that no two are equal."""
    true, predicted = labels > 0, probabilities >= np.float32(threshold)
    marks = true.sum(axis=1) + predicted.sum(axis=1)
    f1 = 2 * (true & predicted).sum(axis=1) / np.maximum(marks, 1)
    error = np.square(probabilities.astype(np.float64) - labels).sum(axis=1)
    wrong = np.where(true | ~predicted, -np.inf, probabilities).max(axis=1, initial=-np.inf)
    untagged = np.where(true.any(axis=1), 0.0, np.inf)  # says nothing about the model, however it ends
    # Tags that the model itself expects to have wrong, for each one that it names: of one at 0.9 and one at 0.2
    # that is the tenth of a tag that is not there, and a fifth of one that was missed.
    expected_wrong = np.minimum(probabilities, 1 - probabilities).sum(axis=1, dtype=np.float64)
    named = predicted.sum(axis=1)
    doubt = np.where(named > 0, expected_wrong / np.maximum(named, 1), np.inf)
    columns: dict[str, Sequence[npt.NDArray[np.floating]]] = {
        # 53 bits: what a float64 holds exactly
        GalleryReason.RANDOM: ((random_order(ids) >> np.uint64(11)) / 2**53, error),
        GalleryReason.WORST: (f1 + untagged, -error),
        GalleryReason.CONFIDENT: (doubt, -named.astype(np.float64)),
        GalleryReason.BEST: (untagged - f1, -true.sum(axis=1).astype(np.float64)),
        "suggestion": (-wrong, error),
    }
    return {name: np.stack([*keys, ids.astype(np.float64)], axis=1) for name, keys in columns.items()}


def _picture(candidate: _Candidate, picks: tuple[GalleryReason, ...], threshold: float) -> GalleryPicture:
    true, predicted = candidate.labels > 0, candidate.probabilities >= np.float32(threshold)
    verdicts = {
        TagVerdict.HIT: true & predicted,
        TagVerdict.MISSED: true & ~predicted,
        TagVerdict.EXTRA: predicted & ~true,
    }
    hits, missed, extra = (int(which.sum()) for which in verdicts.values())
    shown = [
        ShownTag(int(index), float(candidate.probabilities[index]), verdict)
        for verdict, which in verdicts.items()
        for index in np.flatnonzero(which)
    ]
    shown.sort(key=lambda tag: (-tag.probability, tag.index))
    return GalleryPicture(
        id=candidate.id,
        picks=picks,
        jpeg=encode_jpeg(candidate.image),
        f1=2 * hits / max(2 * hits + missed + extra, 1),
        hits=hits,
        missed=missed,
        extra=extra,
        tags=tuple(shown[:MAX_SHOWN_TAGS]),
    )
