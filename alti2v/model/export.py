"""Make of a run a folder that other people's programs load.

The table of labels decides the order of the outputs, the graph is written by these rows, and the result is
compared with the network before anything is published.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import alti2v
from alti2v.errors import DamagedError, UsageError
from alti2v.model.evaluation.thresholds import TunedThresholds, read_thresholds, write_thresholds
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.onnx.check_folder import check_folder
from alti2v.model.onnx.client_parity import ClientParity, client_parity
from alti2v.model.onnx.contract import (
    CARD_FILE,
    CONTRACTS,
    NATIVE_COLUMNS,
    REPORT_FILE,
    WD_CHARACTER_CATEGORY,
    WD_GENERAL_CATEGORY,
    Contract,
)
from alti2v.model.onnx.labels import (
    LabelTable,
    Rating,
    cl_labels,
    count_categories,
    deepghs_csv,
    deepghs_files,
    deepghs_labels,
    native_labels,
    rating_constants,
    selected_tags_csv,
    table_csv,
    tag_mapping_json,
    wd_labels,
)
from alti2v.model.onnx.model_card import Facts, model_card
from alti2v.model.onnx.parity import TOLERANCE, largest_difference
from alti2v.model.onnx.training_dataset import find_training_dataset
from alti2v.model.onnx.writer import arrange_outputs, head_weights, write_onnx
from alti2v.model.options.choices import Format, Rule
from alti2v.model.options.export import ExportConfig
from alti2v.model.saved_model import SavedModel, load_model
from alti2v.model.tagging.selection import DEFAULT_THRESHOLD
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Progress, ProgressHook, ignore_progress
from alti2v.storage.layout import EVALUATION_DIR, FORMAT_VERSION, METRICS_FILE, MODEL_DIR, THRESHOLDS_FILE
from alti2v.storage.publish import json_bytes, make_directory, publish_bytes, read_json, storage_errors

_KIND = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """Result of `export`.

    Attributes:
        out: Folder of the export.
        format: One of `Format`.
        model, labels, card, changes: Files of the export.
        bytes: Size of the model.
        outputs: Category -> number of rows of the table.
        ratings: Constant ratings; empty if the format has none.
        moved: Number of tags exported as general.
        renamed: Number of tags with another name.
        left_out: Number of tags left out.
        largest_difference: Largest difference between the exported model and the network, on random pictures.
        clients: Difference on pictures of the validation split, on the way that clients take; None for the
            format onnx, and if the training dataset is not available.
        threshold: Threshold at which precision equals recall on the validation split; None if unknown.
        seconds: Wall-clock time.
    """

    out: Path
    format: str
    model: Path
    labels: Path
    card: Path
    changes: Path
    bytes: int
    outputs: Mapping[str, int]
    ratings: tuple[Rating, ...]
    moved: int
    renamed: int
    left_out: int
    largest_difference: float
    clients: ClientParity | None
    threshold: float | None
    seconds: float


def export(config: ExportConfig, *, progress: ProgressHook = ignore_progress) -> ExportReport:
    """Export a run.

    The model is written last, so a folder with a model is complete.

    Raises:
        UsageError: The run is not finished, `out` is something else, the vocabulary does not fit the format,
            the training dataset is missing, or the extra `export` is not installed.
        DamagedError: The run or the dataset is damaged, or the weights are not finite.
        DataError: The network is larger than an ONNX file can be.
        StorageError: `out` cannot be written to.
    """
    begun_s = time.monotonic()
    format_ = Format(config.format)
    contract = CONTRACTS[format_]
    _require_own(config.out, format_)
    steps = ("loading", "writing", "comparing", "checking")

    def step(number: int) -> None:
        note = steps[number] if number < len(steps) else ""
        progress(Progress(stage="exporting", done=number, total=len(steps), unit="steps", note=note))

    step(0)
    saved = load_model(config.run)
    is_whole = format_ in (Format.ONNX, Format.DEEPGHS)  # nothing is added for readers
    needs_ratings = config.ratings == "training" and not is_whole
    dataset = find_training_dataset(saved, config.run, given=config.dataset, is_needed=needs_ratings)
    ratings = () if is_whole else rating_constants(dataset.ratings() if dataset and needs_ratings else {})
    labels = _labels(config, format_, saved, ratings)
    step(1)
    weights = arrange_outputs(head_weights(saved.network), labels.rows)
    recipe = replace(ImageRecipe() if dataset is None else dataset.manifest.image, size=saved.size)
    contract = replace(contract, halves_colour=format_ is not Format.ONNX and recipe.halves_colour)
    model = write_onnx(saved.network, saved.architecture, weights, contract)
    step(2)
    difference = largest_difference(model, contract, labels.rows, saved)
    _require_equal(difference, config.run)
    pictures = [] if format_ is Format.ONNX or not dataset else dataset.validation_pictures(config.store)
    clients = _client_parity(model, contract, labels, saved, recipe, pictures)
    step(3)
    facts = replace(
        _facts(config, saved, labels, ratings),
        clients=clients,
        halves_colour=contract.halves_colour,
        of_originals=config.store is not None,
    )
    thresholds = _thresholds(config.run, labels)
    _publish(
        config.out,
        {
            REPORT_FILE: _changes(facts, difference),
            **_tables(format_, labels, facts, thresholds),
            CARD_FILE: model_card(facts).encode(),
            contract.model_file: model,
        },
        thresholds=thresholds,
    )
    breaches = check_folder(config.out).breaches
    if breaches:
        raise DamagedError(f"{config.out}: {breaches[0]}: export again")
    step(4)
    return _report(config.out, facts, difference, seconds=round(time.monotonic() - begun_s, 3))


def _require_own(out: Path, format_: Format) -> None:
    """Check that `out` is new or empty, or an export of this format.

    Raises:
        UsageError: It is something else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file: give a folder for the export")
    report = out / REPORT_FILE
    if report.is_file():
        known = read_json(report)
        if isinstance(known, dict) and known.get("kind") == _KIND:
            if known.get("format") == format_:
                return
            raise UsageError(f"{out} is an export of format {known.get('format')}: choose another folder")
    # A clone of an empty model repository has .git and .gitattributes.
    if any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise UsageError(f"{out} is not empty and not an export: choose another folder")


def _require_equal(difference: float, run: Path) -> None:
    """Check the difference between the exported model and the network.

    Raises:
        DamagedError: It is too large.
    """
    if not difference <= TOLERANCE:  # also refuses NaN
        raise DamagedError(
            f"{run}: the exported model and the network differ by {difference:.2g}, {TOLERANCE:g} is allowed: "
            "check the run with `alti2v eval`, its weights may not be finite"
        )


def _client_parity(
    model: bytes,
    contract: Contract,
    labels: LabelTable,
    saved: SavedModel,
    recipe: ImageRecipe,
    pictures: Sequence[bytes],
) -> ClientParity | None:
    """Compare on pictures, if there are any."""
    if not pictures:
        return None
    threshold = DEFAULT_THRESHOLD if saved.threshold is None else saved.threshold
    return client_parity(model, contract, labels.rows, saved.network, recipe, pictures, threshold=threshold)


def _labels(
    config: ExportConfig, format_: Format, saved: SavedModel, ratings: tuple[Rating, ...]
) -> LabelTable:
    """Make the table of a format.

    Raises:
        UsageError: The vocabulary lacks a category that readers of the format need.
    """
    if format_ is Format.ONNX:
        return native_labels(saved.tags)
    if format_ is Format.DEEPGHS:
        return deepghs_labels(saved.tags)
    if format_ is Format.CL:
        return cl_labels(saved.tags, ratings)
    labels = wd_labels(
        saved.tags,
        ratings,
        with_copyrights=config.copyrights == "general",
        placeholder=config.placeholder_character,
    )
    categories = {row.category for row in labels.rows}
    if WD_GENERAL_CATEGORY not in categories:
        raise UsageError(
            f"{config.run} has no general tag, and readers of the {format_} format fail without one: "
            "give --format cl or onnx"
        )
    if WD_CHARACTER_CATEGORY not in categories:
        raise UsageError(
            f"{config.run} has no character tag, and without one ComfyUI-WD14-Tagger shows ratings as tags: "
            "give --placeholder-character to add a row that is never predicted, or --format cl or onnx"
        )
    return labels


def _tables(
    format_: Format, labels: LabelTable, facts: Facts, thresholds: TunedThresholds | None
) -> dict[str, bytes]:
    """Write the table of a format, and the files beside it."""
    file = CONTRACTS[format_].labels_file
    if format_ is Format.CL:
        return {file: tag_mapping_json(labels.rows)}
    if format_ is Format.ONNX:
        rows = ((row.id, row.name, row.category, row.count) for row in labels.rows)
        return {file: table_csv(NATIVE_COLUMNS, rows)}
    if format_ is Format.DEEPGHS:
        overall = DEFAULT_THRESHOLD if facts.threshold is None else facts.threshold
        own = {} if thresholds is None else thresholds.rules.get(Rule.F1.value, {})
        beside = deepghs_files(labels.rows, side_px=facts.architecture.size, threshold=overall)
        return {file: deepghs_csv(labels.rows, own, otherwise=overall), **beside}
    return {file: selected_tags_csv(labels.rows)}


def _facts(config: ExportConfig, saved: SavedModel, labels: LabelTable, ratings: tuple[Rating, ...]) -> Facts:
    metrics = config.run / EVALUATION_DIR / METRICS_FILE
    return Facts(
        name=config.run.resolve().name,
        format=Format(config.format),
        architecture=saved.architecture,
        labels=labels,
        ratings=ratings,
        rated=any(rating.count for rating in ratings),
        recipe=saved.recipe,
        training=saved.training,
        train_samples=saved.train_samples,
        plan_hash=saved.plan_hash,
        weights=model_hash(config.run),
        threshold=saved.threshold,
        metrics=read_json(metrics) if metrics.is_file() else None,
        version=alti2v.__version__,
        license=config.license,
    )


def _changes(facts: Facts, difference: float) -> bytes:
    """Make export_report.json: facts for programs that the table does not hold."""
    return json_bytes(
        {
            "kind": _KIND,
            "version": FORMAT_VERSION,
            "format": facts.format,
            "run": facts.name,
            "recipe": facts.recipe,
            "plan_hash": facts.plan_hash,
            "weights_sha256": facts.weights,
            "network_side_px": facts.architecture.size,
            "side_px": CONTRACTS[facts.format].side_px or facts.architecture.size,
            "threshold": facts.threshold,
            "rating_constants": [asdict(rating) for rating in facts.ratings],
            "changes": [asdict(change) for change in facts.labels.changes],
            "largest_difference": difference,
            "clients": None if facts.clients is None else asdict(facts.clients),
            "made_with": {
                "alti2v": facts.version,
                **{name: version(name) for name in ("keras", "onnx", "onnxruntime")},
            },
        }
    )


def _report(out: Path, facts: Facts, difference: float, *, seconds: float) -> ExportReport:
    contract, changes = CONTRACTS[facts.format], facts.labels.changes
    model = out / contract.model_file
    moved = sum(change.became == change.tag for change in changes)
    left_out = sum(change.became is None for change in changes)
    return ExportReport(
        out=out,
        format=facts.format,
        model=model,
        labels=out / contract.labels_file,
        card=out / CARD_FILE,
        changes=out / REPORT_FILE,
        bytes=model.stat().st_size,
        outputs=count_categories(facts.labels.rows),
        ratings=facts.ratings,
        moved=moved,
        renamed=len(changes) - moved - left_out,
        left_out=left_out,
        largest_difference=difference,
        clients=facts.clients,
        threshold=facts.threshold,
        seconds=seconds,
    )


def _thresholds(run: Path, labels: LabelTable) -> TunedThresholds | None:
    """Return the tuned thresholds by the names that the tags have in the table."""
    tuned = read_thresholds(run / MODEL_DIR if (run / MODEL_DIR).is_dir() else run)
    if tuned is None:
        return None
    became = {change.tag: change.became for change in labels.changes}
    rules = {
        rule: {new: value for name, value in values.items() if (new := became.get(name, name)) is not None}
        for rule, values in tuned.rules.items()
    }
    return replace(tuned, rules=rules)


def _publish(out: Path, files: Mapping[str, bytes], *, thresholds: TunedThresholds | None) -> None:
    """Write the files in order; the last one is the model, which marks a complete folder.

    Raises:
        StorageError: The file system refuses.
    """
    make_directory(out)
    with storage_errors(out):
        for old in (list(files)[-1], THRESHOLDS_FILE):  # must not remain beside a new table
            (out / old).unlink(missing_ok=True)
    if thresholds is not None:
        write_thresholds(out, thresholds)
    for name, content in files.items():
        publish_bytes(out / name, content)
