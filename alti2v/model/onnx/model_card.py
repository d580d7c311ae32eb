"""The README of an exported model: a model card in the Hugging Face form. Pure: facts in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alti2v.model.network.build import Architecture
from alti2v.model.onnx.client_parity import ClientParity, parity_line
from alti2v.model.onnx.contract import CONTRACTS, PLACEHOLDER, REPORT_FILE, Contract, OutputRole
from alti2v.model.onnx.labels import Change, LabelTable, Rating, count_categories
from alti2v.model.options.choices import Format
from alti2v.numerals import counted, short_number

_SHOWN_CHANGES = 10
_KOHYA = "tag_images_by_wd14_tagger.py --onnx --model_dir MODELS"
_KOHYA_FAULT = (
    "kohya's sd-scripts since 2026-01-18 (commit c6bc632e, v0.10) fail with an UnboundLocalError as soon as "
    "they predict a character: use v0.9.1, give `--character_threshold 1.1`, or export with `--format cl`."
)
# What the programs were seen to do with such folders, and the way round.
_FAULTS_OF_CLIENTS: Mapping[Format, Sequence[str]] = {
    Format.WD: (
        _KOHYA_FAULT,
        "imgutils 0.19 fails on a single output: export with `--format wd-embedding` or `deepghs`.",
    ),
    Format.WD_EMBEDDING: (
        _KOHYA_FAULT,
        "imgutils 0.19 needs numpy before 2, and misreads grey pictures (mode L): convert them to RGB.",
    ),
    Format.CL: (
        "kohya's `--tag_replacement` turns every tag into the target with folders of this form (v0.10): "
        "replace tags in the captions afterwards.",
    ),
    Format.DEEPGHS: ("imgutils 0.19 needs numpy before 2.",),
    Format.ONNX: (),
}
_READERS = {
    Format.WD: "every program that reads WD taggers: kohya's sd-scripts, ComfyUI-WD14-Tagger, taggui, the "
    "webui taggers, wd14-tagger-standalone",
    Format.WD_EMBEDDING: "imgutils, and every other program that reads WD taggers; the second output is the "
    "picture's vector",
    Format.CL: "kohya's sd-scripts in its second form (`--repo_id owner/name/subfolder`), which keeps "
    "copyrights, artists and metadata apart",
    Format.DEEPGHS: "imgutils' generic reader, `imgutils.generic.MultiLabelTIMMModel`, which keeps all "
    "categories and has a threshold for each tag",
    Format.ONNX: "alti2v itself and programs of your own: the network as it was trained, nothing renamed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts for the card.

    Attributes:
        name: Name of the model.
        architecture: Architecture of the network.
        labels: Rows of the table, and the changes made for it.
        ratings: Constant ratings; empty where the format has none.
        rated: True if the ratings come from the training pictures.
        recipe: Name of the training's recipe; `training` holds its figures.
        train_samples: Number of training pictures, of the dataset with `plan_hash`.
        weights: SHA-256 of the run's weights.
        threshold: Threshold at which precision equals recall; None if unknown.
        metrics: Content of the evaluation's metrics.json; None without one.
        version: Version of alti2v.
        license: Licence of the model, as Hugging Face spells it.
        clients: Differences of clients on pictures of the validation split; None if not measured.
        halves_colour: True if the model halves the resolution of colours, as the training's JPEGs did.
        of_originals: True if `clients` is measured on the store's pictures, False if on the dataset's.
    """

    name: str
    format: Format
    architecture: Architecture
    labels: LabelTable
    ratings: tuple[Rating, ...]
    rated: bool
    recipe: str
    training: Mapping[str, Any]
    train_samples: int
    plan_hash: str
    weights: str
    threshold: float | None
    metrics: Mapping[str, Any] | None
    version: str
    license: str
    clients: ClientParity | None = None
    halves_colour: bool = False
    of_originals: bool = False


def model_card(facts: Facts) -> str:
    """Write the card (huggingface.co/docs/hub, "Model Cards"; the metadata of "Evaluation Results")."""
    contract = CONTRACTS[facts.format]
    parts = [
        _front_matter(facts),
        _introduction(facts),
        _interface(facts, contract),
        _loading(facts.format, contract),
        _evaluation(facts),
        _ratings(facts) if facts.ratings else [],
        _tags(facts),
        _limits(facts, contract),
        _origin(facts),
    ]
    return "\n".join(line for part in parts for line in part)


def _front_matter(facts: Facts) -> list[str]:
    lines = ["---", f"license: {json.dumps(facts.license)}"]
    lines += ["library_name: onnx", "pipeline_tag: image-classification"]
    lines += ["tags:", "- onnx", f"- {facts.architecture.backbone}", "- multi-label-classification"]
    lines += ["- illustration", "- alti2v"]
    if facts.format is not Format.ONNX:
        lines.append("- wd-tagger")
    if facts.metrics is not None:
        scores, _ = _scores(_overall(facts.metrics))
        lines += [
            "model-index:",
            f"- name: {json.dumps(facts.name)}",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "      name: multi-label tagging",
            "    dataset:",
            "      type: illustrations",
            f"      name: plan {facts.plan_hash[:12]}",
            f"      split: {json.dumps(facts.metrics['split'])}",
            "    metrics:",
            *(
                f"    - type: {kind}\n      name: {name}\n      value: {scores[field]:.6f}"
                for kind, name, field in (
                    ("mAP", "mean average precision", "mean_ap"),
                    ("f1", "micro F1", "f1"),
                    ("f1", "macro F1", "macro_f1"),
                )
                if scores.get(field) is not None
            ),
        ]
    return [*lines, "---", ""]


def _introduction(facts: Facts) -> list[str]:
    return [
        f"# {as_markdown(facts.name)}",
        "",
        f"A tagger of illustrations: {facts.architecture.backbone} with "
        f"{facts.architecture.features:,} features, trained by alti2v on "
        f"{counted(facts.train_samples, 'picture')}.",
        "",
        f"This folder is for {_READERS[facts.format]}.",
        "",
    ]


def _interface(facts: Facts, contract: Contract) -> list[str]:
    size = facts.architecture.size
    side = contract.side_px or size
    shape = ", ".join(map(str, contract.shape(side)))
    colours = "blue, green, red" if contract.bgr else "red, green, blue"
    scale = "" if contract.low == 0 else ", that is v / 127.5 - 1"
    what = "logits, before the sigmoid" if contract.logits else "independent probabilities"
    lines = [
        "## Input and output",
        "",
        f"- `{contract.model_file}`, input `{contract.input}`: (batch, {shape}), {contract.dtype}, "
        f"colours in the order {colours}, from {contract.low:g} to {contract.high:g}{scale}. "
        "The whole picture is centred on a white square; transparent pixels are white.",
        f"- Output `{list(contract.outputs)[contract.tags]}`: {len(facts.labels.rows):,} {what}; row i of "
        f"`{contract.labels_file}` is the tag of output i.",
    ]
    lines += [
        f"- Output `{name}`: {facts.architecture.features:,} numbers, the picture's vector."
        for name, role in contract.outputs.items()
        if role is OutputRole.FEATURES
    ]
    if side != size:
        lines.append(
            f"- The network was trained at {size} px: the model itself reduces {side} px to that with Pillow's "
            "bicubic filter."
        )
    if facts.halves_colour:
        lines.append(
            "- The training pictures were JPEGs with colour at half the resolution; the model imitates that."
        )
    return [*lines, ""]


def _loading(format_: Format, contract: Contract) -> list[str]:
    ways = {
        Format.WD: [
            f"- kohya: `{_KOHYA} --repo_id OWNER/NAME --character_threshold 1.1`, with this folder as "
            "`MODELS/OWNER_NAME`. The threshold leaves out characters; the reason is below.",
            "- ComfyUI-WD14-Tagger: copy `model.onnx` as `NAME.onnx` and `selected_tags.csv` as `NAME.csv` "
            "into its `models` folder.",
            "- taggui: give the path of this folder as the model.",
        ],
        Format.WD_EMBEDDING: [
            "- imgutils: `imgutils.tagging.wd14`, which takes two outputs, the prediction and the embedding.",
        ],
        Format.CL: [
            f"- kohya: `{_KOHYA} --repo_id OWNER/NAME/SUB`, with this folder as `MODELS/OWNER_NAME/SUB`.",
        ],
        Format.DEEPGHS: [
            '- imgutils: `multilabel_timm_predict("picture.jpg", repo_id="OWNER/NAME")`, once it is uploaded.',
        ],
        Format.ONNX: ["- alti2v: `alti2v tag FOLDER PICTURES`."],
    }
    feed = "pictures" if contract.dtype == "uint8" else "pictures  # float32"
    return [
        "## Loading",
        "",
        *ways[format_],
        *(f"- {fault}" for fault in _FAULTS_OF_CLIENTS[format_]),
        "",
        "```python",
        "import onnxruntime",
        "",
        f'session = onnxruntime.InferenceSession("{contract.model_file}")',
        f'values = session.run(None, {{"{contract.input}": {feed.split("  ")[0]}}})[0]',
        "```",
        "",
    ]


def _evaluation(facts: Facts) -> list[str]:
    metrics = facts.metrics
    if metrics is None:
        return ["## Evaluation", "", "Not evaluated yet: run `alti2v eval RUN`, then export again.", ""]
    model, baseline = _scores(_overall(metrics))
    intervals = metrics.get("intervals_95") or {}
    lines = [
        "## Evaluation",
        "",
        f"On {counted(metrics['images'], 'picture')} of the {metrics['split']} split, with the threshold "
        f"{metrics['threshold']:.4f}, {metrics['threshold_source']}. "
        "The last column is a baseline that predicts every tag with its frequency.",
        "",
        "| figure | model | 95 % interval | frequencies only |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {_figure(model.get(field))} | {_interval(intervals.get(field))} "
            f"| {_figure(baseline.get(field))} |"
            for name, field in (
                ("mean average precision", "mean_ap"),
                ("micro F1", "f1"),
                ("macro F1", "macro_f1"),
                ("mean squared error", "squared_error"),
                ("expected calibration error", "calibration_error"),
            )
            if field != "mean_ap" or model[field] is not None
        ),
        "",
    ]
    categories = [group for group in metrics["groups"] if group["kind"] == "category"]
    if len(categories) > 1:  # a single one repeats the figures of all tags
        lines += [
            "| tags | count | mAP | micro F1 | macro F1 |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {group['name']} | {group['model']['tags']:,} | {_figure(model['mean_ap'])} "
                f"| {_figure(model['f1'])} | {_figure(model['macro_f1'])} |"
                for group in categories
                for model, _ in [_scores(group)]
            ),
            "",
        ]
    if metrics.get("notes"):
        lines += [*(f"- {note}" for note in metrics["notes"]), ""]
    if facts.format is not Format.ONNX:
        lines += ["These figures include tags that this format leaves out.", ""]
    return lines


def _ratings(facts: Facts) -> list[str]:
    origin = (
        "They are the shares of the training pictures, (count + 1) / (pictures + 4)"
        if facts.rated
        else "All are equal, because the numbers of pictures are not known"
    )
    return [
        "## Ratings are constants",
        "",
        "The model has not learned ratings. Programs for WD taggers expect four, so these four outputs are the "
        f"same for every picture. {origin}. **They say nothing about a picture; do not filter by them.**",
        "",
        "| rating | training pictures | output |",
        "|---|---:|---:|",
        *(f"| {rating.name} | {rating.count:,} | {rating.probability:.6f} |" for rating in facts.ratings),
        "",
    ]


def _tags(facts: Facts) -> list[str]:
    categories = count_categories(facts.labels.rows)
    by_category = ", ".join(f"{count:,} {category}" for category, count in categories.items())
    lines = ["## Tags", "", f"{counted(len(facts.labels.rows), 'row')}: {by_category}.", ""]
    if any(row.name == PLACEHOLDER and row.output is None for row in facts.labels.rows):
        lines += [
            f"`{PLACEHOLDER}` is not a tag: its output is always near 0. The vocabulary has no characters, and "
            "ComfyUI-WD14-Tagger shows ratings as tags if there is no row of category 4.",
            "",
        ]
    for title, changes in (
        ("Counted as general", [c for c in facts.labels.changes if c.became == c.tag]),
        ("Renamed", [c for c in facts.labels.changes if c.became not in (None, c.tag)]),
        ("Left out", [c for c in facts.labels.changes if c.became is None]),
    ):
        if changes:
            lines += [f"{title}: {_named_changes(changes)}", ""]
    return lines


def _named_changes(changes: Sequence[Change]) -> str:
    shown = ", ".join(
        f"{as_markdown(change.tag)}"
        + (f" as {as_markdown(change.became)}" if change.became not in (None, change.tag) else "")
        for change in changes[:_SHOWN_CHANGES]
    )
    more = len(changes) - _SHOWN_CHANGES
    return f"{shown}{f' and {more:,} more' if more > 0 else ''} (all, with reasons, in `{REPORT_FILE}`)."


def _limits(facts: Facts, contract: Contract) -> list[str]:
    lines = [
        "## Limits",
        "",
        "- The model is for illustrations like those that it was trained on, not for photographs.",
        "- Labels are incomplete: many predictions that count as wrong are right. Rare tags are less reliable.",
        "- The training pictures belong to their artists; the licence above, if any, covers only the model.",
    ]
    if facts.architecture.backbone == "vgg16":
        lines.append("- VGG16 is from 2014; newer backbones recognise more.")
    if contract.side_px and contract.side_px != facts.architecture.size:
        lines.append(
            f"- The network sees pictures at {facts.architecture.size} px, so small details are lost. Programs "
            "resize pictures in different ways, which changes probabilities slightly."
        )
    if facts.clients is not None:
        lines.append(f"- {parity_line(facts.clients, of_originals=facts.of_originals)}")
    return [*lines, ""]


def _origin(facts: Facts) -> list[str]:
    training = {
        name.replace("_", " ").replace(" map", " mAP").replace(" f1", " F1"): value
        for name, value in facts.training.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    lines = ["## Training", "", f"alti2v {facts.version}, recipe {facts.recipe}."]
    lines += [f"The dataset has plan `{facts.plan_hash}`.", ""]
    if training:
        lines += ["| training | |", "|---|---:|"]
        lines += [f"| {name} | {_number(value)} |" for name, value in training.items()]
        lines.append("")
    return [
        *lines,
        "## Licence and consent",
        "",
        "The pictures belong to their artists, and this card grants no rights to them. Before you publish the",
        "weights, state their licence and give a contact address.",
        "",
    ]


def _overall(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    overall: Mapping[str, Any] = next(group for group in metrics["groups"] if group["kind"] == "all")
    return overall


def _scores(group: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the scores of the model and of the frequencies, with mAP only over enough tags."""
    return tuple(
        {**group[of], "mean_ap": group.get(name, group[of].get("mean_ap"))}
        for of, name in (("model", "map"), ("baseline", "map_baseline"))
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if value >= 0.01 or value == 0 else f"{value:.2e}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else short_number(value, digits=6)


def _interval(interval: Mapping[str, float] | None) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else "–"


def as_markdown(text: str) -> str:
    """Escape a tag or a name for Markdown."""
    escaped = "".join(f"\\{letter}" if letter in r"\`*_{}[]()<>#+-.!|~&" else letter for letter in text)
    return " ".join(escaped.split())
