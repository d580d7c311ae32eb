"""Tag pictures with a trained model: the calls of illustration2vec on whatever was trained, or downloaded.

One code path serves all of them and the command line too: `predictions` streams pictures through the network,
and `selection` decides what counts. Each call takes a list of paths, PIL images or arrays and answers in its
order.

    tagger = load_tagger("run")
    tagger.estimate_plausible_tags(["miku.jpg"], threshold=0.25)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from alti2v.dataset.manifest import ImageRecipe
from alti2v.errors import DataError, UsageError
from alti2v.model.arrays import Uint8Array
from alti2v.model.evaluation.thresholds import BETAS, Rule, TunedThresholds, own_limits, read_thresholds
from alti2v.model.onnx.contract import Format
from alti2v.model.tagging.heatmap import GapHead, HeatMap, heat_map, keras_head, onnx_head
from alti2v.model.tagging.preprocess import (
    PictureInput,
    Preprocessing,
    Problem,
    Source,
    decoding_threads,
    prepared_ahead,
    source_of,
)
from alti2v.model.tagging.selection import Criterion, Probabilities, passing, ranked, ratings
from alti2v.model.vocabulary import RATING, OutputTags, find_tag, make_vocabulary
from alti2v.storage.layout import MODEL_DIR, MODEL_FILE

Features = npt.NDArray[np.float32]
PlausibleTags = dict[str, list[tuple[str, float]]]  # category -> (tag, probability), the most probable first
_P = TypeVar("_P")

# 448 px in float32 are 2.4 MB a picture; at 16 the network is as fast as it gets on a CPU.
DEFAULT_BATCH_SIZE = 16
_BATCHES_AHEAD = 2
_WHOLE_MODELS = (".keras", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".pb", ".joblib")


@dataclass(frozen=True, slots=True)
class Prediction(Generic[_P]):
    """What the network says of one picture.

    Attributes:
        picture: what the caller knows it by.
        probabilities: (T,) float32.
        features: (F,) float32; None where the model gives no vectors.
    """

    picture: _P
    probabilities: Probabilities
    features: Features | None


@dataclass(frozen=True, slots=True)
class UntaggedPicture(Generic[_P]):
    """A picture that could not be tagged."""

    picture: _P
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagger:
    """A loaded model.

    Attributes:
        forward: (B, S, S, 3) uint8, RGB -> probabilities (B, T) float32, vectors (B, F) float32 or None.
        vocabulary: names and categories of the T outputs.
        preparation: what becomes of a picture before the network sees it.
        features: F; None where the model gives no vectors.
        threshold: where precision equals recall on the validation split; None where nobody knows.
        tuned: thresholds of the single tags; None where nobody tuned them.
        head: finds out what follows the pooling, for heat-maps; loads the model a second time where it must.
        batch_size: pictures at a time.
        threads: that decode.
    """

    forward: Callable[[Uint8Array], tuple[Probabilities, Features | None]]
    vocabulary: OutputTags
    preparation: Preprocessing
    features: int | None
    threshold: float | None = None
    tuned: TunedThresholds | None = None
    head: Callable[[], GapHead | None] = lambda: None
    batch_size: int = DEFAULT_BATCH_SIZE
    threads: int = field(default_factory=decoding_threads)

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is less than 1")

    def estimate_plausible_tags(
        self, images: Sequence[PictureInput], threshold: float = 0.25, threshold_rule: str = "constant"
    ) -> list[PlausibleTags]:
        """List the tags that pass, by category; ratings are listed whole.

        Args:
            images: paths, PIL images or uint8 arrays.
            threshold: for the rule "constant", in [0, 1]; a tag passes above it.
            threshold_rule: "constant"; "f0.5", "f1" or "f2" for each tag's own threshold, tuned on the
                validation split; "mcut" for the widest gap in each category.

        Raises:
            UsageError: no such rule, or the model has no thresholds for it.
            DataError: a picture cannot be used; the message names it.
        """
        criterion = self.criterion(threshold_rule, threshold=threshold)
        return [self._plausible(one.probabilities, criterion) for one in self._all(images)]

    def estimate_specific_tags(
        self, images: Sequence[PictureInput], tags: Sequence[str]
    ) -> list[dict[str, float]]:
        """Say how probable certain tags are.

        Raises:
            UsageError: the model does not know one of them; the message offers the nearest names.
            DataError: a picture cannot be used.
        """
        wanted = [(tag, np.array([find_tag(self.vocabulary, tag)])) for tag in tags]
        return [
            {tag: ranked(one.probabilities, self.vocabulary, output)[0][1] for tag, output in wanted}
            for one in self._all(images)
        ]

    def estimate_top_tags(self, images: Sequence[PictureInput], n_tag: int = 10) -> list[PlausibleTags]:
        """List the `n_tag` most probable tags of each category; ratings are listed whole.

        Raises:
            DataError: a picture cannot be used.
        """
        if n_tag < 1:
            raise UsageError(f"n_tag {n_tag} is less than 1")
        return [
            {
                category: ranked(one.probabilities, self.vocabulary, members)[
                    : None if category == RATING else n_tag
                ]
                for category, members in self.vocabulary.members.items()
            }
            for one in self._all(images)
        ]

    def extract_feature(self, images: Sequence[PictureInput]) -> Features:
        """Return the vectors of pictures: (n, F) float32, each number at least 0.

        Raises:
            UsageError: the model gives no vectors.
            DataError: a picture cannot be used.
        """
        if self.features is None:
            raise UsageError("this model gives no vectors: take a RUN, or export it with --format wd-embedding")
        vectors = [one.features for one in self._all(images) if one.features is not None]
        return np.stack(vectors) if vectors else np.zeros((0, self.features), np.float32)

    def extract_binary_feature(self, images: Sequence[PictureInput]) -> npt.NDArray[np.uint8]:
        """Return the vectors as bits: (n, F / 8) uint8, `numpy.packbits` order.

        A bit says whether the unit is active. illustration2vec asks whether the sigmoid of the unit's input
        exceeds 0.5, which is the same question: our vectors are ReLUs of that input.

        Raises:
            UsageError: the model gives no vectors.
            DataError: a picture cannot be used.
        """
        return np.packbits(self.extract_feature(images) > 0, axis=1)

    def heat_map(self, pixels: Uint8Array, tag: str) -> HeatMap:
        """Find out where in a picture a tag is.

        Args:
            pixels: (S, S, 3) uint8, RGB, of `pictures.pixels`.
            tag: its name.

        Raises:
            UsageError: the model does not know the tag.
        """
        output = find_tag(self.vocabulary, tag)
        return heat_map(self.forward, self.head(), pixels, output, batch_size=self.batch_size)

    def criterion(
        self,
        rule: str,
        *,
        threshold: float = 0.25,
        by_category: Mapping[str, float] | None = None,
        by_tag: Mapping[str, float] | None = None,
    ) -> Criterion:
        """Make the criterion of a rule for this model.

        Args:
            rule: one of `Rule`.
            threshold: for the rule constant; a category's or a tag's own one counts in its place.
            by_category: category -> threshold.
            by_tag: tag -> threshold.

        Raises:
            UsageError: no such rule, category or tag, a threshold outside [0, 1], or nothing was tuned.
        """
        if rule not in list(Rule):
            raise UsageError(f"no threshold rule {rule!r}: choose of {', '.join(Rule)}")
        chosen = Rule(rule)
        own = own_limits(self.tuned, chosen, self.vocabulary.names) if chosen in BETAS else None
        return Criterion(
            rule=chosen,
            threshold=threshold,
            by_category=by_category or {},
            by_output={find_tag(self.vocabulary, tag): value for tag, value in (by_tag or {}).items()},
            own=own,
        )

    def _plausible(self, probabilities: Probabilities, criterion: Criterion) -> PlausibleTags:
        passed = passing(probabilities[None], self.vocabulary, criterion)[0]
        return {
            category: ratings(probabilities, self.vocabulary)
            if category == RATING
            else ranked(probabilities, self.vocabulary, members[passed[members]])
            for category, members in self.vocabulary.members.items()
        }

    def _all(self, images: Sequence[PictureInput]) -> Iterator[Prediction[int]]:
        if isinstance(images, str | Path) or not isinstance(images, Iterable):
            raise UsageError(f"{images!r} is one picture: give a list")
        given = list(images)
        for result in predictions(self, ((i, source_of(image)) for i, image in enumerate(given))):
            if isinstance(result, UntaggedPicture):
                image = given[result.picture]
                name = image if isinstance(image, str | Path) else f"picture {result.picture}"
                raise DataError(f"{name}: {result.problem.words}")
            yield result


def predictions(
    tagger: Tagger, pictures: Iterable[tuple[_P, Source]]
) -> Iterator[Prediction[_P] | UntaggedPicture[_P]]:
    """Stream pictures through the network, in their order; memory does not grow with their number.

    Args:
        tagger: the model.
        pictures: what the caller knows a picture by, and its file, content or problem. Taken as needed, a few
            batches ahead.
    """
    batch = tagger.batch_size
    held: list[tuple[_P, Uint8Array | Problem]] = []
    ready = 0
    for known_by, prepared in prepared_ahead(
        pictures, tagger.preparation, ahead=_BATCHES_AHEAD * batch + tagger.threads, threads=tagger.threads
    ):
        held.append((known_by, prepared))
        ready += not isinstance(prepared, Problem)
        if ready == batch or len(held) == 4 * batch:  # the latter: a folder of mostly damaged pictures
            yield from _predict(tagger, held)
            held, ready = [], 0
    yield from _predict(tagger, held)


def _predict(
    tagger: Tagger, held: Sequence[tuple[_P, Uint8Array | Problem]]
) -> Iterator[Prediction[_P] | UntaggedPicture[_P]]:
    usable = [prepared for _, prepared in held if not isinstance(prepared, Problem)]
    rows = iter(_rows(*tagger.forward(np.stack(usable))) if usable else ())
    for known_by, prepared in held:
        if isinstance(prepared, Problem):
            yield UntaggedPicture(known_by, prepared)
        else:
            yield Prediction(known_by, *next(rows))


def _rows(
    probabilities: Probabilities, features: Features | None
) -> Iterator[tuple[Probabilities, Features | None]]:
    for row, of_picture in enumerate(probabilities):
        yield of_picture, None if features is None else features[row]


def load_tagger(path: str | Path, *, batch_size: int = DEFAULT_BATCH_SIZE) -> Tagger:
    """Load a model to tag with.

    Args:
        path: a RUN or the model folder in it (Keras), or a folder with model.onnx and its table of tags: an
            export of ours, or a WD tagger of anybody (onnxruntime; TensorFlow is not imported).
        batch_size: pictures at a time, > 0.

    Raises:
        UsageError: there is no model, or one of a kind that is not loaded because it can run code.
        VersionError: another format version wrote it.
        DamagedError: a part is missing, or does not fit the others.
    """
    from alti2v.model.onnx.reader import form_of

    folder = Path(path)
    inner = folder / MODEL_DIR if (folder / MODEL_DIR).is_dir() else folder
    if form_of(folder) is not None:
        return _from_onnx(folder, batch_size=batch_size)
    if not (inner / MODEL_FILE).is_file():
        _refuse_others(folder)
    return _from_bundle(folder, inner, batch_size=batch_size)


def _from_onnx(folder: Path, *, batch_size: int) -> Tagger:
    from alti2v.model.onnx.reader import load_onnx_folder

    model = load_onnx_folder(folder)
    tuned = read_thresholds(folder)
    return Tagger(
        forward=model.forward,
        vocabulary=model.vocabulary,
        preparation=Preprocessing(ImageRecipe(size=model.size), is_encoded=model.form is Format.ONNX),
        features=model.features,
        threshold=model.threshold,
        tuned=tuned,
        head=functools.cache(lambda: onnx_head(folder, model.form)),
        batch_size=batch_size,
    )


def _from_bundle(path: Path, folder: Path, *, batch_size: int) -> Tagger:
    from alti2v.model.saved_model import load_model

    bundle = load_model(path)

    def forward(images: Uint8Array) -> tuple[Probabilities, Features]:
        answer = bundle.network.predict_on_batch(images)
        return np.asarray(answer["probabilities"], np.float32), np.asarray(answer["features"], np.float32)

    return Tagger(
        forward=forward,
        vocabulary=make_vocabulary((tag.name, tag.category.value) for tag in bundle.tags),
        preparation=Preprocessing(ImageRecipe(size=bundle.size)),
        features=bundle.architecture.features,
        threshold=bundle.threshold,
        tuned=read_thresholds(folder),
        head=functools.cache(lambda: keras_head(bundle.network)),
        batch_size=batch_size,
    )


def _refuse_others(path: Path) -> None:
    """Say what is wrong with a path that holds no model of a kind that is loaded, where that is known."""
    if path.is_file() and path.suffix == ".onnx":
        raise UsageError(f"{path} is a file: give the folder that holds model.onnx and selected_tags.csv")
    whole = next((file.name for file in _files(path) if file.suffix in _WHOLE_MODELS), None)
    if whole is not None:
        raise UsageError(
            f"{path} holds {whole}, and models of this kind are not loaded, they can run code: "
            "give a RUN, or a folder with model.onnx and selected_tags.csv"
        )


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []
