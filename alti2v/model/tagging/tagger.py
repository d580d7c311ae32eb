"""Taggers: trained or downloaded models with the methods of illustration2vec.

The calls and the command line share one code path: `predictions` streams pictures through the network, and
`selection` decides which tags pass. Each call takes a list of paths, PIL images or arrays, and returns its
results in the same order.

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

from alti2v.arrays import Float32Array, Uint8Array
from alti2v.errors import DataError, UsageError
from alti2v.model.evaluation.thresholds import (
    BETAS,
    TunedThresholds,
    own_thresholds,
    read_thresholds,
    tuned_sources,
)
from alti2v.model.loading.description import ModelDescription
from alti2v.model.loading.folder import open_tagger, recognised, refused
from alti2v.model.loading.hub import local_model
from alti2v.model.loading.run import describe_run
from alti2v.model.loading.session import Forward
from alti2v.model.options.choices import DEFAULT_BATCH_SIZE, RATING, Rule
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
from alti2v.model.tagging.selection import DEFAULT_THRESHOLD, Criterion, passing, ranked, ratings
from alti2v.model.vocabulary import OutputTags, find_tag
from alti2v.option_bounds import require_between
from alti2v.pictures.decoder_process import process_decoders
from alti2v.storage.directory import DirectoryKind, described_kind
from alti2v.storage.layout import MODEL_DIR, MODEL_FILE

PlausibleTags = dict[str, list[tuple[str, float]]]  # category -> (tag, probability), the most probable first
_P = TypeVar("_P")

_BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Prediction(Generic[_P]):
    """Output of the network for one picture.

    Attributes:
        picture: The caller's identifier of the picture.
        probabilities: (T,) float32.
        features: (F,) float32; None if the model gives no vectors.
    """

    picture: _P
    probabilities: Float32Array
    features: Float32Array | None


@dataclass(frozen=True, slots=True)
class UntaggedPicture(Generic[_P]):
    """A picture that could not be tagged, and why."""

    picture: _P
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagger:
    """A loaded model.

    Attributes:
        forward: Maps (B, S, S, 3) uint8 RGB, or (B, S, S, 4) if it wants to know the padding, to probabilities
            (B, T) float32, vectors (B, F) float32 or None.
        description: Description of the model, with the thresholds that come with it.
        device: Device that it runs on, for display: "CPU", "CUDA".
        tuned: Tuned threshold of each tag; None if the model has none.
        head: Returns the layers after the pooling, for heat maps, or None if they are not known; may load the
            model a second time.
        batch_size: Pictures per forward pass.
        threads: Number of decoding threads.
    """

    forward: Forward
    description: ModelDescription
    device: str
    tuned: TunedThresholds | None = None
    head: Callable[[], GapHead | None] = lambda: None
    batch_size: int = DEFAULT_BATCH_SIZE
    threads: int = field(default_factory=decoding_threads)

    def __post_init__(self) -> None:
        require_between("batch_size", self.batch_size, 1)
        require_between("threads", self.threads, 1)

    @property
    def vocabulary(self) -> OutputTags:
        """Names and categories of the T outputs."""
        return self.description.vocabulary

    @property
    def preprocessing(self) -> Preprocessing:
        """Conversion of a picture to what the network takes."""
        return self.description.input.preparation

    @property
    def features(self) -> int | None:
        """Length F of a vector; None if the model gives no vectors."""
        return self.description.output.features

    def require_features(self, model: str) -> int:
        """Return the length F of a vector.

        Raises:
            UsageError: The model, which the message names, gives no vectors.
        """
        if self.features is None:
            raise UsageError(
                f"{model} gives no vectors: take a RUN, or an export with --format wd-embedding, deepghs "
                "or onnx, or another tagger that has them"
            )
        return self.features

    @property
    def threshold(self) -> float | None:
        """Threshold of tags without their own threshold; None if the model has none."""
        return self.description.thresholds.overall

    def estimate_plausible_tags(
        self, images: Sequence[PictureInput], threshold: float = 0.25, threshold_rule: str = "constant"
    ) -> list[PlausibleTags]:
        """List the tags that pass, by category, and all ratings.

        Args:
            images: Paths, PIL images or uint8 arrays.
            threshold: For the rule "constant", in [0, 1]. As in illustration2vec (i2v/base.py), a tag passes if
                its probability is more than that.
            threshold_rule: "constant"; "f0.5", "f1" or "f2" for each tag's own threshold, tuned on the
                validation split; "mcut" for the widest gap in each category.

        Raises:
            UsageError: The rule does not exist, or the model has no thresholds for it.
            DataError: A picture cannot be used; the message names it.
        """
        criterion = self.criterion(threshold_rule, threshold=threshold, is_strict=True)
        return [self._plausible(one.probabilities, criterion) for one in self._predict_all(images)]

    def estimate_specific_tags(
        self, images: Sequence[PictureInput], tags: Sequence[str]
    ) -> list[dict[str, float]]:
        """Return the probabilities of these tags.

        Raises:
            UsageError: The model does not know one of them; the message suggests the nearest names.
            DataError: A picture cannot be used.
        """
        outputs = [(tag, np.array([find_tag(self.vocabulary, tag)])) for tag in tags]
        return [
            {tag: ranked(one.probabilities, self.vocabulary, output)[0][1] for tag, output in outputs}
            for one in self._predict_all(images)
        ]

    def estimate_top_tags(self, images: Sequence[PictureInput], n_tag: int = 10) -> list[PlausibleTags]:
        """List the `n_tag` most probable tags of each category, and all ratings.

        Raises:
            DataError: A picture cannot be used.
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
            for one in self._predict_all(images)
        ]

    def extract_feature(self, images: Sequence[PictureInput]) -> Float32Array:
        """Return the vectors of pictures, (n, F) float32, with no negative number.

        Raises:
            UsageError: The model gives no vectors.
            DataError: A picture cannot be used.
        """
        features = self.require_features("this model")
        vectors = [one.features for one in self._predict_all(images) if one.features is not None]
        return np.stack(vectors) if vectors else np.zeros((0, features), np.float32)

    def extract_binary_feature(self, images: Sequence[PictureInput]) -> Uint8Array:
        """Return the vectors as bits, (n, F / 8) uint8 in `numpy.packbits` order.

        A bit is 1 if the unit is active. illustration2vec tests if the sigmoid of the unit's input exceeds 0.5,
        which is equivalent: our vectors are ReLUs of that input.

        Raises:
            UsageError: The model gives no vectors.
            DataError: A picture cannot be used.
        """
        return np.packbits(self.extract_feature(images) > 0, axis=1)

    def heat_map(self, pixels: Uint8Array, tag: str) -> HeatMap:
        """Locate a tag in a picture.

        Args:
            pixels: (S, S, 3) uint8 RGB from `preprocess.pixels`.
            tag: Name of the tag.

        Raises:
            UsageError: The model does not know the tag.
        """
        output = find_tag(self.vocabulary, tag)
        return heat_map(self.forward, self.head(), pixels, output, batch_size=self.batch_size)

    def criterion(
        self,
        rule: str,
        *,
        threshold: float | None = None,
        by_category: Mapping[str, float] | None = None,
        by_tag: Mapping[str, float] | None = None,
        is_strict: bool = False,
    ) -> Criterion:
        """Make the criterion of a rule for this model.

        Args:
            rule: One of `Rule`.
            threshold: Threshold of the rule constant; None for those that come with the model, and
                `DEFAULT_THRESHOLD` where it has none. The threshold of a category or a tag replaces it.
            by_category: Category -> threshold.
            by_tag: Tag -> threshold.
            is_strict: True if probabilities have to be more than these thresholds, False if at least.

        Raises:
            UsageError: The rule, a category or a tag does not exist, a threshold is not in [0, 1], or the model
                has no tuned thresholds.
        """
        if rule not in list(Rule):
            raise UsageError(f"no threshold rule {rule!r}: choose one of {', '.join(Rule)}")
        chosen, names = Rule(rule), self.vocabulary.names
        own: Float32Array = self.own_thresholds()
        sources: Sequence[str] = self.description.thresholds.sources(self.vocabulary)
        if chosen in BETAS:
            own = own_thresholds(self.tuned, chosen, names)
            sources = () if self.tuned is None else tuned_sources(self.tuned, chosen, names)
        return Criterion(
            rule=chosen,
            threshold=threshold,
            by_category=by_category or {},
            by_output={find_tag(self.vocabulary, tag): value for tag, value in (by_tag or {}).items()},
            own=own,
            is_strict=is_strict,
            sources=sources,
        )

    def own_thresholds(self) -> Float32Array:
        """Return the threshold of every tag, (T,), that comes with the model, else `DEFAULT_THRESHOLD`."""
        return self.description.thresholds.of(self.vocabulary, otherwise=DEFAULT_THRESHOLD)

    def _plausible(self, probabilities: Float32Array, criterion: Criterion) -> PlausibleTags:
        passed = passing(probabilities[None], self.vocabulary, criterion)[0]
        return {
            category: ratings(probabilities, self.vocabulary)
            if category == RATING
            else ranked(probabilities, self.vocabulary, members[passed[members]])
            for category, members in self.vocabulary.members.items()
        }

    def _predict_all(self, images: Sequence[PictureInput]) -> Iterator[Prediction[int]]:
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
    """Stream pictures through the network, in order; memory use does not grow with their number.

    Args:
        tagger: Model.
        pictures: (identifier, file, bytes or problem) of each picture. Read as needed, a few batches ahead.
    """
    batch = tagger.batch_size
    buffer: list[tuple[_P, Uint8Array | Problem]] = []
    usable = 0
    for identifier, prepared in prepared_ahead(
        pictures, tagger.preprocessing, ahead=_BATCHES_AHEAD * batch + tagger.threads, threads=tagger.threads
    ):
        buffer.append((identifier, prepared))
        usable += not isinstance(prepared, Problem)
        if usable == batch or len(buffer) == 4 * batch:  # the latter: a folder of mostly damaged pictures
            yield from _predict(tagger, buffer)
            buffer, usable = [], 0
    yield from _predict(tagger, buffer)


def _predict(
    tagger: Tagger, buffer: Sequence[tuple[_P, Uint8Array | Problem]]
) -> Iterator[Prediction[_P] | UntaggedPicture[_P]]:
    usable = [prepared for _, prepared in buffer if not isinstance(prepared, Problem)]
    rows = iter(_rows(*tagger.forward(np.stack(usable))) if usable else ())
    for identifier, prepared in buffer:
        if isinstance(prepared, Problem):
            yield UntaggedPicture(identifier, prepared)
        else:
            yield Prediction(identifier, *next(rows))


def _rows(
    probabilities: Float32Array, features: Float32Array | None
) -> Iterator[tuple[Float32Array, Float32Array | None]]:
    for row, of_picture in enumerate(probabilities):
        yield of_picture, None if features is None else features[row]


def load_tagger(
    path: str | Path,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    precision: str = "auto",
    pictures: int | None = None,
) -> Tagger:
    """Load a tagger.

    Args:
        path: A RUN or the saved model in it (Keras), or the folder of an export or of a tagger of any family in
            `loading.families` (onnxruntime; TensorFlow is not imported), or the name of one, see `loading.hub`.
        batch_size: Pictures per forward pass, > 0.
        precision: Number format that the layers of a RUN compute in: "float32", "bfloat16", "float16", or
            "auto", bfloat16 where this machine is faster in it. model.onnx is always computed as it is.
        pictures: Number of pictures that it will see, if known: fewer decoders start for a few.

    Raises:
        UsageError: There is no model, or it is of a kind that is not loaded.
        VersionError: The model has another format version.
        DamagedError: A part is missing, or does not match the others.
        RemoteError: The hub does not answer.
    """
    threads = decoding_threads(pictures)
    # While the model is loaded; more start when they are needed
    process_decoders().warm(1 if pictures is None else min(threads, pictures))
    folder = local_model(path)
    if recognised(folder) is not None:
        return _from_onnx(folder, batch_size=batch_size, threads=threads)
    inner = folder / MODEL_DIR if (folder / MODEL_DIR).is_dir() else folder
    if not (inner / MODEL_FILE).is_file() and described_kind(folder) is not DirectoryKind.RUN:
        raise UsageError(refused(folder))
    return _from_saved_model(folder, inner, batch_size=batch_size, threads=threads, precision=precision)


def _from_onnx(path: Path, *, batch_size: int, threads: int) -> Tagger:
    opened = open_tagger(path)
    description = opened.description
    return Tagger(
        forward=opened.forward,
        description=description,
        device=opened.device,
        tuned=read_thresholds(opened.folder),
        head=functools.cache(lambda: onnx_head(opened.folder / description.model_file, description.input)),
        batch_size=batch_size,
        threads=threads,
    )


def _from_saved_model(path: Path, folder: Path, *, batch_size: int, threads: int, precision: str) -> Tagger:
    from alti2v.model import backend
    from alti2v.model.network.precision import choose_precision
    from alti2v.model.saved_model import load_model

    saved = load_model(path, precision=choose_precision(precision))

    def forward(images: Uint8Array) -> tuple[Float32Array, Float32Array]:
        answer = saved.network.predict_on_batch(images)
        return np.asarray(answer["probabilities"], np.float32), np.asarray(answer["features"], np.float32)

    return Tagger(
        forward=forward,
        description=describe_run(
            folder,
            saved.tags,
            size=saved.size,
            features=saved.architecture.features,
            threshold=saved.threshold,
        ),
        device="GPU" if backend.tf.config.list_physical_devices("GPU") else "CPU",
        tuned=read_thresholds(folder),
        head=functools.cache(lambda: keras_head(saved.network)),
        batch_size=batch_size,
        threads=threads,
    )
