"""The weights that a training begins with: of ImageNet, of a file, of an earlier run, or nobody's."""

from __future__ import annotations

import numpy as np

from alti2v.errors import UsageError
from alti2v.model.data.pipeline import training_batches
from alti2v.model.network.backbones import PLAIN
from alti2v.model.network.build import Network, load_trunk, standardise
from alti2v.model.saved_model import SavedModel, load_model
from alti2v.model.training.job import Job

# Enough for the mean and variance of a channel, and little memory at 224 px.
_START_PICTURES = 64


def give_start(job: Job, network: Network) -> str:
    """Give a network that has not taken a step the weights to start from.

    Returns:
        What an earlier run gave it, as a line for a person; empty where it does not start from one.

    Raises:
        RemoteError: ImageNet's weights cannot be fetched.
        UsageError: the weights do not fit.
    """
    if job.start is not None:
        model = load_model(job.start)
        if model.architecture.backbone != job.recipe.backbone:
            raise UsageError(
                f"--from {job.start} is a {model.architecture.backbone}, not a {job.recipe.backbone}: "
                f"give --backbone {model.architecture.backbone}"
            )
        known = carry_over(model, network, [tag.name for tag in job.tags])
        if not known and {tag.name for tag in job.tags} & {tag.name for tag in model.tags}:
            return f"from {job.start}: the backbone alone, because its head is another"
        return f"from {job.start}: the backbone, and {known:,} of {len(job.tags):,} tags by name"
    if job.weights != "none":
        load_trunk(network, job.weights)
    elif job.recipe.standardised_start and job.recipe.backbone in PLAIN:
        batches = training_batches(job.dataset, batch_size=_START_PICTURES, seed=job.seed)
        standardise(network, next(iter(batches))[0].numpy())
    return ""


def carry_over(model: SavedModel, network: Network, names: list[str]) -> int:
    """Fill a network from a trained one with the same backbone and perhaps other tags.

    The backbone always comes along; the feature layer where it has the same shape, and with it, by name, the
    tags' rows of the last layer. Tags that are new keep the start that they have, their bias included.

    Returns:
        How many tags were known.
    """
    # By position: Keras numbers the names of some backbones' layers anew for every network of a process.
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
    rows = {tag.name: number for number, tag in enumerate(model.tags)}
    known = np.array([number for number, name in enumerate(names) if name in rows], int)
    sources = np.array([rows[name] for name in names if name in rows], int)
    last = network.logits.get_layer("logits")
    kernel, bias = last.get_weights()  # (F, T), (T,)
    their_kernel, their_bias = trained["logits"].get_weights()
    kernel[:, known], bias[known] = their_kernel[:, sources], their_bias[sources]
    last.set_weights([kernel, bias])
    return len(known)
