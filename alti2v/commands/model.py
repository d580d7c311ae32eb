"""`alti2v train` and `alti2v eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import (
    LOCAL_PATH,
    as_json_option,
    cache_options,
    check_readable,
    ends_promptly,
    option_of,
    pinned_model,
    precision_option,
)
from alti2v.model.options.evaluation import CompareConfig, EvalConfig
from alti2v.model.options.training import TrainConfig
from alti2v.model.recipes import HEAD_ONLY, RECIPES, Loss, parse_augmentation
from alti2v.model.training.log import best_network, validation_figures
from alti2v.numerals import counted, duration, size
from alti2v.output import print_result
from alti2v.storage.layout import SPLITS
from alti2v.terminal.display import progress_display

if TYPE_CHECKING:
    from alti2v.model.train import TrainReport
    from alti2v.model.training.cost.estimate import TrainingEstimate
    from alti2v.report.comparison import ComparisonReport
    from alti2v.report.evaluation import EvaluationReport

_train_option = option_of(TrainConfig)
_eval_option = option_of(EvalConfig)


@click.command()
@click.argument("dataset")
@click.argument("run", type=LOCAL_PATH)
@_train_option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    help="Settings: modern for pretrained weights, scratch without them, seed as in alt-i2v of 2017.",
)
@_train_option("--epochs", help="Number of passes over the data. Default: the recipe's.")
@_train_option(
    "--budget",
    metavar="MINUTES",
    help="Measure this machine, and choose epochs and the trained part of the backbone to fit this time.",
)
@_train_option("--batch-size", help="Pictures per step. Default: the recipe's.")
@_train_option(
    "--accumulate", help="Steps per weight update: a large batch in little memory. Default: the recipe's."
)
@_train_option("--learning-rate", help="Peak learning rate. Default: the recipe's.")
@_train_option("--backbone", help="Network of keras.applications, such as resnet50v2. Default: the recipe's.")
@_train_option("--train-from", help="First layer of the backbone to train, or head to train only the head.")
@_train_option("--frozen-epochs", help="Number of initial epochs that train only the head.")
@_train_option(
    "--small-epochs",
    help="Number of epochs after those on pictures of half the side, which take about a third of the time.",
)
@click.option(
    "--head-start/--no-head-start",
    default=None,  # without it click's default would be --no-head-start
    help="First train the head on stored features of the frozen backbone, in one pass over the pictures. "
    "Default: the recipe's.",
)
@_train_option(
    "--weights",
    help="Initial weights of the backbone: imagenet (Keras downloads them), none, or the path of a weights "
    "file. Default: imagenet; none for --recipe scratch.",
)
@_train_option("--from", "start", help="Start from the network of a finished RUN, which may have other tags.")
@_train_option(
    "--loss",
    type=click.Choice(list(map(str, Loss))),
    help="Cross-entropy summed or averaged over the tags, or asymmetric: less weight on easy negatives. "
    "Default: the recipe's.",
)
@_train_option(
    "--positive-weight",
    help="Extra weight for rare tags: each counts (negatives / positives) to this power, 0 to 1.",
)
@click.option(
    "--soft-labels/--no-soft-labels",
    default=None,
    help="For incomplete tags: train a tag that a picture lacks towards the probability that it applies, which "
    "heads trained on the other pictures estimate, instead of 0. Default: the recipe's, no.",
)
@click.option(
    "--augmentation",
    help="Random changes, separated by commas: flip, rotation=10, shift=0.05, crop=0.13, kernels, cutout=0.1, "
    "mixup=0.8; or none.",
)
@_train_option(
    "--ema", help="Evaluate and export a moving average of the weights with this decay, such as 0.999."
)
@precision_option
@_train_option("--patience", help="Stop after this many epochs without a better network.")
@_train_option("--keep", help="Number of checkpoints to keep, besides the best.")
@_train_option("--seed", help="Random seed.")
@_train_option(
    "--cache-features",
    help="Compute the output of the frozen layers once per picture, and train the rest on it, without "
    "augmentation.",
)
@_train_option("--tensorboard", help="Write TensorBoard events into the RUN.")
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Only estimate memory and time; write nothing.",
)
@cache_options
@as_json_option
def train(
    *,
    dataset: str,
    cache: Path | None,
    cache_gb: float,
    only_plan: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - typed by TrainConfig
) -> None:
    """Train a tagger on a DATASET into a RUN.

    DATASET is a folder, or a URL such as s3://bucket/dataset. Run the same command again after an
    interruption: it resumes at the step where it stopped. Later commands use the network that is best on
    the validation split: by mAP, or by micro F1 if fewer than half of the tags have ten pictures there.
    """
    from alti2v.dataset.shard_cache import CacheConfig, open_dataset
    from alti2v.model.train import plan
    from alti2v.model.train import train as train_model

    options["dataset"] = open_dataset(check_readable(dataset), CacheConfig(cache=cache, cache_gb=cache_gb))
    if options["augmentation"] is not None:
        options["augmentation"] = parse_augmentation(options["augmentation"])
    if only_plan:
        with progress_display() as progress:
            planned = plan(TrainConfig(**options), progress=progress)
        print_result(planned, as_json=as_json, table=_planned(planned))
        return
    with progress_display() as progress:
        report = train_model(TrainConfig(**options), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "recipe": f"{report.recipe}, {report.parameters:,} parameters",
            "epochs": f"{report.epochs:,} ({counted(report.steps, 'step')})"
            + ", stopped early" * report.stopped_early,
            "loss": f"{report.loss:.4f}",
            "best": _best(report),
            "speed": f"{report.samples_per_s:,.1f} pictures/s, input wait {report.input_wait:.1%}",
            "time": duration(report.seconds),
            "run": str(report.run),
        },
    )


def _planned(plan: TrainingEstimate) -> dict[str, str]:
    free = "unknown" if plan.memory_free_bytes is None else size(plan.memory_free_bytes)
    return {
        "parameters": f"{plan.parameters:,}, {plan.learning:,} trainable, {plan.precision}",
        "memory": f"at least {size(plan.memory_bytes)} per device, {free} free",
        "steps": f"{plan.steps:,} in {counted(plan.epochs, 'epoch')}, on {counted(plan.devices, 'device')}",
        "trains": "the head" if plan.train_from == HEAD_ONLY else f"the layers from {plan.train_from} on",
        "input alone": f"{plan.input_samples_per_s:,.1f} pictures/s",
        "training alone": f"{plan.training_samples_per_s:,.1f} pictures/s",
        "limited by": plan.limited_by,
        "time": duration(plan.seconds),
    }


def _best(report: TrainReport) -> str:
    name = best_network(report.best_epoch, is_averaged=report.is_averaged)
    if report.validation_map is None or report.validation_micro_f1 is None:
        return f"{name}, nothing to validate on"
    return f"{name}: {validation_figures(report.validation_map, report.validation_micro_f1)}"


@click.command("eval")
@click.argument("models", type=LOCAL_PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option("--dataset", help="Folder or URL of the dataset. Default: the one that a RUN was trained on.")
@_eval_option("--split", type=click.Choice(SPLITS), help="Split to evaluate on.")
@click.option(
    "--store",
    type=LOCAL_PATH,
    help="Store that the dataset was built from: its original pictures for models that take larger ones, and "
    "its aliases for other names of tags.",
)
@click.option(
    "--out",
    type=LOCAL_PATH,
    help="Folder for the report. Default: RUN/eval for the test split, RUN/eval/SPLIT for another one; for a "
    "comparison RUN/eval/against-OTHERS if the first MODEL is a RUN, otherwise ./comparison.",
)
@precision_option
@cache_options
@as_json_option
@ends_promptly
def evaluate(
    *,
    models: tuple[Path, ...],
    dataset: str | None,
    store: Path | None,
    cache: Path | None,
    cache_gb: float,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - typed by EvalConfig
) -> None:
    """Evaluate a RUN, or compare models of any kind.

    A single RUN is evaluated on the split that --split names; training never uses the test split. A comparison
    leaves out all pictures that a RUN was trained or tuned on. Mean average precision is the mean over the tags
    with at least 10 pictures in the split, or with at least one if fewer than five tags have 10; `train` prints
    the mean over all tags of the validation split.

    With one RUN, writes metrics.json, per_tag.csv, suggestions.csv (tags that the board may have missed),
    report.md and report.html. With several models, or with one that is not a RUN, writes comparison.json,
    per_tag.csv and comparison.html: a column for each model, over the tags and pictures that they have in
    common, with intervals of the differences from the first model. A MODEL is a RUN, the folder of an export
    or of another tagger, or hf:owner/name; see docs/MODELS.md. Beside a model that is not a RUN, --precision
    auto is float32, so that rounding makes no difference between a RUN and its export.
    """
    from alti2v.dataset.shard_cache import CacheConfig, open_dataset
    from alti2v.model.comparison.contestant import is_run
    from alti2v.report.comparison import write_comparison
    from alti2v.report.evaluation import write_evaluation

    if dataset is not None:
        options["dataset"] = open_dataset(check_readable(dataset), CacheConfig(cache=cache, cache_gb=cache_gb))
    report: EvaluationReport | ComparisonReport
    if len(models) == 1 and store is None and is_run(models[0]):
        with progress_display() as progress:
            report = write_evaluation(EvalConfig(run=models[0], **options), progress=progress)
    else:
        pinned = tuple(map(pinned_model, models))  # before the display, which their commits would disturb
        with progress_display() as progress:
            config = CompareConfig(models=pinned, store=store, **options)
            report = write_comparison(config, progress=progress)
    print_result(report, as_json=as_json, table=report.table)
