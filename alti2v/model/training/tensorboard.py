"""Events for TensorBoard: curves, precision and recall, and a few pictures with their tags."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from alti2v.errors import UsageError
from alti2v.model import backend
from alti2v.model.data.pipeline import Batch
from alti2v.model.evaluation.histograms import SLICES, THRESHOLDS, pool
from alti2v.model.network.build import Network
from alti2v.model.training.validation import Validation
from alti2v.records import Tag

_PICTURES = 4
_TAGS = 8


def require_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        UsageError: It is not.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError as exc:
        raise UsageError("--tensorboard needs the extra: pip install 'alti2v[tensorboard]'") from exc


def log_epoch(
    folder: Path,
    row: Mapping[str, float | int | None],
    validation: Validation | None,
    examples: tuple[Network, Batch, Sequence[Tag]] | None,
) -> None:
    """Write the events of an epoch.

    Args:
        folder: Folder of the events; created if missing.
        row: Row of log.csv.
        validation: Validation of that epoch; None if it was not validated.
        examples: The network, pictures to tag, and the tags of its outputs.
    """
    tf = backend.tf
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(step=int(row["epoch"] or 0)):
        for name, value in row.items():
            if name not in ("epoch", "step") and value is not None:
                tf.summary.scalar(name, value)
        if validation is not None:
            tf.summary.experimental.write_raw_pb(_curve(validation))
        if examples is not None:
            _write_pictures(*examples)
    writer.close()


def _curve(validation: Validation) -> bytes:
    """Make the message of the plugin, which needs equidistant thresholds; multiples of 0.05 are exact."""
    from tensorboard.plugins.pr_curve import summary

    pooled = pool(validation.histograms)
    edges = [np.float32(number / SLICES) <= THRESHOLDS for number in range(SLICES)]
    true_positives = np.array([pooled.positives[edge].sum() for edge in edges])
    predicted = np.array([pooled.totals[edge].sum() for edge in edges])
    positives, pairs = pooled.positives.sum(), pooled.totals.sum()
    false_positives = predicted - true_positives
    message = summary.raw_data_pb(
        "micro",
        true_positive_counts=true_positives,
        false_positive_counts=false_positives,
        true_negative_counts=pairs - positives - false_positives,
        false_negative_counts=positives - true_positives,
        precision=true_positives / np.maximum(predicted, 1),
        recall=true_positives / max(positives, 1),
        num_thresholds=SLICES,
    )
    return bytes(message.SerializeToString())


def _write_pictures(network: Network, batch: Batch, tags: Sequence[Tag]) -> None:
    tf = backend.tf
    images = batch.images[: min(_PICTURES, batch.count)]
    probabilities = np.asarray(network.tagger.predict_on_batch(images)["probabilities"])  # (N, T)
    tf.summary.image("pictures", images, max_outputs=len(images))
    text = io.StringIO()
    for number, row in enumerate(probabilities):
        likeliest = np.argsort(-row, kind="stable")[:_TAGS]
        said = ", ".join(f"`{tags[index].name}` {row[index]:.2f}" for index in likeliest)
        text.write(f"- {batch.ids[number]}: {said}\n")
    tf.summary.text("pictures", text.getvalue())
