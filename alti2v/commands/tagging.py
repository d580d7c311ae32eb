"""The command `alti2v tag`: tags of pictures on the terminal, as JSON, or as caption files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import (
    LOCAL_PATH,
    ends_promptly,
    listed_paths,
    model_to_compute,
    option_of,
    precision_option,
    relation_options,
    relations_of,
)
from alti2v.errors import DataError, UsageError
from alti2v.model.options.choices import CATEGORIES, RATING, Existing, Rule, Sort
from alti2v.model.options.tagging import CaptionStyle, SidecarConfig, TagConfig
from alti2v.numerals import counted, duration
from alti2v.output import print_json, print_lines, print_result, tell
from alti2v.records import ProgressHook, ignore_progress
from alti2v.terminal.display import progress_display

if TYPE_CHECKING:
    from alti2v.model.tag import Tagged, TagReport
    from alti2v.model.tagging.tagger import UntaggedPicture

_SIDECAR = "sidecar"
# Options that have an effect only with --format sidecar.
_OF_SIDECARS = {
    *("existing", "suffix", "separator", "spaces", "escape"),
    *("replace", "prepend", "append", "always_first"),
}

_tag_option = option_of(TagConfig)
_sidecar_option = option_of(SidecarConfig)
_caption_option = option_of(CaptionStyle)


@click.command()
@click.argument("model", type=LOCAL_PATH)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv", _SIDECAR]),
    default="text",
    show_default=True,
    help="Output: text for people, json with one object per line, csv with one row per tag, or a text file "
    "beside each picture.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="[NAME=]P",
    help="Print tags with a probability of more than P. Default: at least the model's own "
    "threshold (of the tag or category, if there is one), or at least 0.35. Repeatable for categories and "
    "tags: --threshold 0.3 --threshold character=0.8 --threshold smile=0.6.",
)
@_tag_option(
    "--threshold-rule",
    "rule",
    help="Source of the thresholds. constant: --threshold. f0.5, f1, f2: tuned for each tag on the validation "
    "split, for few and certain tags (f0.5) up to many (f2). mcut: at the widest gap between the probabilities "
    "of a picture.",
)
@_tag_option("--top", help="Maximum number of tags of a picture, the most probable ones.")
@_tag_option(
    "--category",
    "categories",
    type=click.Choice(CATEGORIES),
    help="Only tags of this category. Repeatable. Default: all but the rating.",
)
@_tag_option("--exclude", metavar="TAG", help="Leave out this tag. Repeatable, or separated by commas.")
@_tag_option("--sort", help="Order of the tags: by probability, by name, or as in the model.")
@precision_option
@_tag_option("--batch-size", help="Pictures per forward pass.")
@relation_options
@_sidecar_option("--existing", help="Sidecars: action for a picture that already has one.")
@_sidecar_option("--suffix", help="Sidecars: suffix of the file name.")
@_caption_option("--separator", help="Sidecars: text between tags.")
@_caption_option("--spaces", help="Sidecars: replace underscores by spaces, except in faces such as ^_^.")
@_caption_option("--escape", help=r"Sidecars: write parentheses as \( and \).")
@click.option(
    "--replace",
    nargs=2,
    multiple=True,
    metavar="TAG TEXT",
    help="Sidecars: write a text instead of a tag. Repeatable.",
)
@_caption_option("--prepend", metavar="TEXT", help="Sidecars: start with a text. Repeatable.")
@_caption_option("--append", metavar="TEXT", help="Sidecars: end with a text. Repeatable.")
@_caption_option(
    "--always-first",
    metavar="TAG",
    help="Sidecars: put this tag first if the picture has it. Repeatable, or separated by commas.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="With --format sidecar: print the counts as one JSON object."
)
@click.pass_context
@ends_promptly
def tag(ctx: click.Context, /, *, form: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by TagConfig
    """Tag pictures with a MODEL.

    MODEL is a RUN, an exported folder, or a tagger of any family in docs/MODELS.md; hf:owner/name is one on the
    Hugging Face hub. PATH is a file, a folder (searched recursively), a pattern, or - for a list on standard
    input, one per line or separated by NUL. Pictures that cannot be tagged are listed on standard error and
    skipped; the exit status is then 1.
    """
    from alti2v.model.tag import tag_files
    from alti2v.model.tagging.inputs import unread_words

    _require_sidecars(ctx, form, as_json=as_json)
    threshold, by_category, by_tag = _thresholds(options.pop("thresholds"))
    sidecars = _sidecars(options)
    config = TagConfig(
        threshold=threshold,
        by_category=by_category,
        by_tag=by_tag,
        is_strict=True,
        rule=Rule(options.pop("rule")),
        sort=Sort(options.pop("sort")),
        relations=relations_of(options),
        sidecars=sidecars if form == _SIDECAR else None,
        **options,
    )
    config = replace(config, model=model_to_compute(config.model, config.precision))
    with _display(form) as progress:
        report = tag_files(config, show=_printer(form), listed=listed_paths(config.paths), progress=progress)
    if form == _SIDECAR:
        print_result(report, as_json=as_json, table=_table(report))
    elif report.unread:
        tell(f"alti2v: {unread_words(report.unread)}")
    if report.failed:
        failed = ", ".join(f"{kind} {count:,}" for kind, count in sorted(report.failed.items()))
        raise DataError(
            f"{sum(report.failed.values()):,} of {report.pictures:,} pictures could not be tagged ({failed}): "
            "they are named above, and all others are tagged"
        )


def _require_sidecars(ctx: click.Context, form: str, *, as_json: bool) -> None:
    """Refuse options that would have no effect."""
    if form == _SIDECAR:
        return
    if as_json:
        raise UsageError("--json is the report of --format sidecar: for tags as JSON give --format json")
    for parameter in ctx.command.params:
        is_given = ctx.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        if is_given and parameter.name in _OF_SIDECARS:
            raise UsageError(
                f"{parameter.opts[0]} goes with --format sidecar, not with {form}: give one of them"
            )


def _thresholds(values: Iterable[str]) -> tuple[float | None, dict[str, float], dict[str, float]]:
    """Read `P`, `CATEGORY=P` and `TAG=P`, where TAG may contain "="."""
    general: float | None = None
    by_category: dict[str, float] = {}
    by_tag: dict[str, float] = {}
    for value in values:
        name, equals, number = value.rpartition("=")
        try:
            threshold = float(number)
        except ValueError:
            raise UsageError(
                f"--threshold {value!r} is not a threshold: give 0.35, or character=0.85"
            ) from None
        if not equals:
            general = threshold
        elif name in CATEGORIES:
            by_category[name] = threshold
        else:
            by_tag[name] = threshold
    return general, by_category, by_tag


def _sidecars(options: dict[str, Any]) -> SidecarConfig:
    """Move the options of sidecars out of all options."""
    options["replace"] = dict(options["replace"])
    style = CaptionStyle(**{field.name: options.pop(field.name) for field in fields(CaptionStyle)})
    return SidecarConfig(suffix=options.pop("suffix"), existing=Existing(options.pop("existing")), style=style)


def _display(form: str) -> AbstractContextManager[ProgressHook]:
    """Show progress, unless the results go to the same terminal."""
    return progress_display() if form == _SIDECAR or not sys.stdout.isatty() else nullcontext(ignore_progress)


def _printer(form: str) -> Callable[[Tagged | UntaggedPicture[Path]], None]:
    """Return a function that prints a result: tags to standard output, problems to standard error."""
    from alti2v.model.tagging.captions import CSV_HEADER, csv_rows, json_object, text_lines
    from alti2v.model.tagging.selection import group
    from alti2v.model.tagging.tagger import UntaggedPicture

    header = (
        [CSV_HEADER] if form == "csv" else []
    )  # printed with the first row: a failure before prints nothing

    def show(result: Tagged | UntaggedPicture[Path]) -> None:
        if isinstance(result, UntaggedPicture):
            tell(f"{result.picture}: {result.problem.words}")
            return
        path, groups = str(result.path), group(result.tags, result.vocabulary)
        if form == "json":
            print_json(json_object(path, groups, result.ratings, result.thresholds))
        elif form == "csv" and result.tags:
            print_lines([*header, *csv_rows(path, result.tags)])
            header.clear()
        elif form == "text":
            rating = next((tag for tag in result.tags if tag.category == RATING), None)
            print_lines(text_lines(path, groups, rating))

    return show


def _table(report: TagReport) -> dict[str, str | None]:
    from alti2v.model.tagging.inputs import unread_words

    return {
        "pictures": f"{report.pictures:,}",
        "tagged": f"{report.tagged:,}, {counted(report.tags, 'tag')} in all",
        "skipped": f"{report.skipped:,}, which have a sidecar: use --existing overwrite or append"
        if report.skipped
        else None,
        "thresholds": str(report.thresholds) if report.thresholds.categories else None,
        "ran on": report.device or None,
        **{f"failed: {kind}": f"{count:,}" for kind, count in sorted(report.failed.items())},
        "left out": unread_words(report.unread) if report.unread else None,
        "time": duration(report.seconds),
    }
