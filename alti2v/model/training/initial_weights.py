"""Initial weights: ImageNet's, a file's, an earlier run's, or random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alti2v.errors import UsageError
from alti2v.model.data.pipeline import training_batches
from alti2v.model.data.read_errors import reading_errors
from alti2v.model.data.shards import ReadFailure
from alti2v.model.network.backbones import PLAIN, application, require_weights
from alti2v.model.network.build import Network, load_trunk, standardise
from alti2v.model.saved_model import SavedModel, load_model, read_trained_on
from alti2v.model.training.job import Job, RunSettings
from alti2v.records import composed

# Enough for the mean and variance of a channel, and small at 224 px.
_START_PICTURES = 64


def require_initial_weights(settings: RunSettings) -> None:
    """Check that the initial weights of a training are available, before anything is written.

    Raises:
        RemoteError: ImageNet's weights cannot be downloaded.
        UsageError: There is no such backbone, file or finished run.
    """
    backbone = settings.recipe.backbone
    if settings.start is not None:
        read_trained_on(Path(settings.start))
    elif settings.weights != "none":
        require_weights(backbone, settings.weights)
    else:
        application(backbone)


def initialise_weights(job: Job, network: Network) -> str:
    """Fill a new network with the weights that the job starts from.

    Returns:
        A line for the user: what an earlier run contributed, or that the recipe expects pretrained weights;
        empty if there is nothing to say.

    Raises:
        RemoteError: ImageNet's weights cannot be downloaded.
        UsageError: The weights do not fit.
    """
    settings = job.settings
    if settings.start is not None:
        model = load_model(Path(settings.start))
        if model.architecture.backbone != job.recipe.backbone:
            raise UsageError(
                f"--from {settings.start} is a {model.architecture.backbone}, not a {job.recipe.backbone}: "
                f"give --backbone {model.architecture.backbone}"
            )
        known = carry_over(model, network, [tag.name for tag in job.tags])
        if not known and {tag.name for tag in job.tags} & {tag.name for tag in model.tags}:
            return f"from {settings.start}: the backbone alone, because its head differs"
        return f"from {settings.start}: the backbone, and {known:,} of {len(job.tags):,} tags by name"
    if settings.weights != "none":
        load_trunk(network, settings.weights)
        return mismatch(job.settings)
    if job.recipe.standardised_start and job.recipe.backbone in PLAIN:
        failure = ReadFailure()
        batches = training_batches(
            job.dataset, batch_size=_START_PICTURES, seed=job.settings.seed, failure=failure
        )
        with reading_errors(job.dataset, split="train", failure=failure):
            pictures = next(iter(batches))[0].numpy()
        standardise(network, pictures)
    return mismatch(job.settings)


def mismatch(settings: RunSettings) -> str:
    """Return a warning if the recipe is made for other initial weights; "" if it suits them."""
    name, is_random = settings.recipe_name, settings.weights == "none"
    if is_random is (settings.recipe.weights == "none"):
        return ""
    if is_random:
        return (
            f"recipe {name} is tuned for pretrained weights, and --weights none has none: "
            "--recipe scratch is made for that"
        )
    return (
        f"recipe {name} is tuned for random weights, and its learning rate destroys much of pretrained ones: "
        "--recipe modern is made for them"
    )


def carry_over(model: SavedModel, network: Network, names: list[str]) -> int:
    """Fill a network from a trained one with the same backbone and possibly other tags.

    The backbone is always copied. If the feature layer has the same shape, it is copied, too, and so are the
    tags' columns of the last layer, matched by name. New tags keep their initial weights and bias.

    Returns:
        Number of tags that were copied.
    """
    # By position: for some backbones Keras continues numbering layers with every network of a process.
    for layer, source in zip(network.trunk.layers, model.network.layers, strict=False):
        layer.set_weights(source.get_weights())
    trained = {layer.name: layer for layer in model.network.layers}
    for name in ("normalise", "features"):
        ours = next((layer for layer in network.logits.layers if layer.name == name), None)
        theirs = trained.get(name)
        if (ours is None) is not (theirs is None):
            return 0
        if ours is None or theirs is None:
            continue
        if [weight.shape for weight in ours.weights] != [weight.shape for weight in theirs.weights]:
            return 0
        ours.set_weights(theirs.get_weights())
    rows = {composed(tag.name): number for number, tag in enumerate(model.tags)}
    wanted = list(map(composed, names))
    known = np.array([number for number, name in enumerate(wanted) if name in rows], int)
    sources = np.array([rows[name] for name in wanted if name in rows], int)
    last = network.logits.get_layer("logits")
    kernel, bias = last.get_weights()  # (F, T), (T,)
    their_kernel, their_bias = trained["logits"].get_weights()
    kernel[:, known], bias[known] = their_kernel[:, sources], their_bias[sources]
    last.set_weights([kernel, bias])
    return len(known)
