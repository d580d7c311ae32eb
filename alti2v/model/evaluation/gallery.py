"""Pictures for a report, selected in one pass so that no others are kept in memory.

Pure numpy except for encoding JPEGs. The selection does not depend on the order of the pictures.
"""

from __future__ import annotations

import bisect
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from alti2v.arrays import Float32Array, Float64Array, Int64Array, Uint8Array
from alti2v.storage.order import random_order

MAX_SIDE = 320  # px; a report is one file, and its cards are narrower than this
_JPEG_QUALITY = 88
MAX_SHOWN_TAGS = 30
MAX_ADDITIONS = 1000


class GalleryReason(StrEnum):
    """Reason to show a picture in the gallery."""

    RANDOM = "random"
    WORST = "most wrong"
    CONFIDENT = "most confident"  # right or wrong
    BEST = "best"


class TagVerdict(StrEnum):
    """Outcome of one tag of one picture."""

    HIT = "hit"  # predicted, and on the board
    MISSED = "missed"  # on the board, not predicted
    EXTRA = "extra"  # predicted, not on the board: wrong, or missing there


@dataclass(frozen=True, slots=True)
class ShownTag:
    """A tag below a picture; `index` is its row."""

    index: int
    probability: float
    verdict: TagVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryPicture:
    """A picture of the gallery.

    Attributes:
        id: Post number.
        picks: Reasons for showing it, at least one.
        jpeg: The picture, longest side at most MAX_SIDE px.
        f1: F1 of this picture's tags.
        hits, missed, extra: Number of tags with each verdict.
        tags: Tags by descending probability, at most MAX_SHOWN_TAGS.
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
    """A tag that the board may lack: a confident prediction that counts as wrong."""

    id: int
    jpeg: bytes = field(repr=False)
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class Addition:
    """A confident prediction that counts as wrong, without its picture, for suggestions.csv."""

    id: int
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: int
    image: Uint8Array  # (S, S, 3)
    probabilities: Float32Array  # (T,)
    labels: Uint8Array  # (T,)


@dataclass(slots=True)
class Shortlists:
    """The leading pictures by each measure so far; lowest key first.

    Attributes:
        threshold: Probability from which a tag counts as predicted.
        size: Number of pictures that each list keeps.
    """

    threshold: float
    size: int
    _lists: dict[str, list[tuple[tuple[float, ...], _Candidate]]] = field(default_factory=dict)
    # (3, A) float64: probability, id and tag of the best additions so far, the most probable first.
    _additions: Float64Array = field(default_factory=lambda: np.zeros((3, 0)))

    def offer(
        self, *, images: Uint8Array, labels: Uint8Array, ids: Int64Array, probabilities: Float32Array
    ) -> None:
        """Consider a batch: (B, S, S, 3), (B, T), (B,), (B, T)."""
        for name, keys in _keys(labels, ids, probabilities, threshold=self.threshold).items():
            kept = self._lists.setdefault(name, [])
            for row in np.lexsort(keys.T[::-1])[: self.size]:
                key = tuple(float(part) for part in keys[row])
                if np.isinf(key[0]) or (len(kept) == self.size and key >= kept[-1][0]):
                    break
                # Copies, so that one row does not keep the whole batch in memory.
                candidate = _Candidate(
                    int(ids[row]), images[row].copy(), probabilities[row].copy(), labels[row].copy()
                )
                bisect.insort(kept, (key, candidate), key=lambda entry: entry[0])
                del kept[self.size :]
        rows, tags = np.nonzero((labels == 0) & (probabilities >= np.float32(self.threshold)))
        offered = np.stack([probabilities[rows, tags], ids[rows], tags]).astype(np.float64)
        both = np.concatenate([self._additions, offered], axis=1)
        self._additions = both[:, np.lexsort((both[2], both[1], -both[0]))[:MAX_ADDITIONS]]

    def pictures(self) -> tuple[GalleryPicture, ...]:
        """Return the gallery, by `GalleryReason`; a picture in several lists appears where it is first."""
        candidates: dict[int, _Candidate] = {}
        picks: dict[int, list[GalleryReason]] = {}
        for pick in GalleryReason:
            for _, candidate in self._lists.get(pick, []):
                candidates.setdefault(candidate.id, candidate)
                picks.setdefault(candidate.id, []).append(pick)
        return tuple(
            _picture(candidate, tuple(picks[number]), self.threshold)
            for number, candidate in candidates.items()
        )

    def suggestions(self) -> tuple[Suggestion, ...]:
        """Return the most confident tag that the board lacks of each picture, most confident first."""
        return tuple(_suggestion(candidate) for _, candidate in self._lists.get("suggestion", []))

    def additions(self) -> tuple[Addition, ...]:
        """Return all tags that the board may lack, most confident first, at most MAX_ADDITIONS."""
        return tuple(
            Addition(id=int(number), index=int(tag), probability=probability)
            for probability, number, tag in self._additions.T.tolist()
        )


def _suggestion(candidate: _Candidate) -> Suggestion:
    index = int(np.where(candidate.labels > 0, -1.0, candidate.probabilities).argmax())
    return Suggestion(
        id=candidate.id,
        jpeg=encode_jpeg(candidate.image),
        index=index,
        probability=float(candidate.probabilities[index]),
    )


def encode_jpeg(image: Uint8Array) -> bytes:
    """Encode (H, W, 3) uint8 RGB as a JPEG, reduced to a longest side of at most MAX_SIDE px."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return stream.getvalue()


def _keys(
    labels: Uint8Array, ids: Int64Array, probabilities: Float32Array, *, threshold: float
) -> dict[str, Float64Array]:
    """Make the sort keys of each list, (B, 3), lowest first; the id comes last, so that no two are equal."""
    true, predicted = labels > 0, probabilities >= np.float32(threshold)
    marks = true.sum(axis=1) + predicted.sum(axis=1)
    f1 = 2 * (true & predicted).sum(axis=1) / np.maximum(marks, 1)
    error = np.square(probabilities.astype(np.float64) - labels).sum(axis=1)
    wrong = np.where(true | ~predicted, -np.inf, probabilities).max(axis=1, initial=-np.inf)
    untagged = np.where(true.any(axis=1), 0.0, np.inf)  # says nothing about the model
    # Errors that the model itself expects, per tag that it predicts: with one tag at 0.9 and one at 0.2, it
    # expects 0.1 wrong tags and 0.2 missed ones.
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
