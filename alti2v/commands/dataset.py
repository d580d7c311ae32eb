"""`alti2v build-shards`, `alti2v verify` and `alti2v remove`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from alti2v.commands.options import (
    LOCAL_PATH,
    address,
    as_json_option,
    check_local,
    local_folder,
    option_of,
    require_all,
    work_option,
)
from alti2v.dataset.config import CHROMAS, ENGINES, FITS, FORMATS, SPLIT_KEYS, SPLIT_RULES, BuildConfig
from alti2v.dataset.filter_options import RATINGS
from alti2v.errors import DamagedError, UsageError
from alti2v.numerals import counted, duration, size
from alti2v.output import print_result
from alti2v.records import Finding, ProgressHook, Verification, outcome_label
from alti2v.storage.directory import DirectoryKind, described_kind, kind_of, repair_advice
from alti2v.storage.remote import is_url
from alti2v.terminal.display import progress_display

if TYPE_CHECKING:
    from alti2v.dataset.report import BuildReport

_MOST_FINDINGS = 20  # lines; a lost tar file can bring tens of thousands
_FOR_PEOPLE = {"samples": "pictures"}  # items of a verification, whose JSON names stay
_SHOWN_DIGITS = 12  # of a hash of 64, enough to tell two plans apart

_build_option = option_of(BuildConfig)


@click.command("build-shards")
@click.argument("store")
@click.argument("dataset")
@work_option("Local folder for the plan, tables and unfinished shards; needed if DATASET is a URL.")
@_build_option("--size", help="Side of the square pictures in px; with --fit within, the longest side.")
@_build_option(
    "--fit",
    type=click.Choice(FITS),
    help="Shape of the pictures. letterbox: square with white borders; squash: stretched to a square; crop: "
    "the centre square; within: their own shape, no side above --size. `train` needs letterbox or within.",
)
@_build_option(
    "--area",
    metavar="PX",
    help="Keep the shape of pictures, and shrink those with more than PX pixels, such as 1048576.",
)
@_build_option(
    "--format", type=click.Choice(FORMATS), help="Format of the pictures in the shards. `train` needs jpeg."
)
@_build_option("--keep-original", help="Store the downloaded files unchanged. `train` cannot read them.")
@_build_option("--quality", help="JPEG or WebP quality, 1 to 100.")
@_build_option("--chroma", type=click.Choice(CHROMAS), help="Chroma subsampling of the JPEGs.")
@_build_option("--top-tags", help="Maximum size of the tag vocabulary.")
@_build_option("--min-count", help="Minimum number of training pictures of a tag.")
@_build_option(
    "--quota",
    metavar="CATEGORY=N",
    help="Take the N most frequent tags of a category, instead of --top-tags. Repeatable.",
)
@_build_option("--ratings", help="Add the four ratings to the vocabulary, as rating:general and so on.")
@_build_option("--keep", help="File of tags, one per line, that are always in the vocabulary.")
@_build_option("--drop", help="File of tags, one per line, that are never in the vocabulary.")
@_build_option("--keep-meta", help="Include meta tags.")
@_build_option("--keep-artist", help="Include artist tags.")
@_build_option("--test", help="Number of test pictures.")
@_build_option("--validation", help="Number of validation pictures.")
@_build_option(
    "--split",
    type=click.Choice(SPLIT_RULES),
    help="Rule that assigns splits: a hash of the near-duplicate group, or the post id modulo 1000.",
)
@_build_option(
    "--split-by",
    type=click.Choice(SPLIT_KEYS),
    help="Rule in place of --split. artist: each artist in one split. date: test newer than validation, "
    "validation newer than training; such a dataset can only grow by older pictures.",
)
@_build_option(
    "--min-side",
    help="Only originals at least this wide and high, in px. If the board states no size, that of the "
    "stored picture counts.",
)
@_build_option(
    "--max-aspect",
    help="Only originals whose longer side is at most this many times as long as the shorter one.",
)
@_build_option("--min-score", help="Only posts with at least this score.")
@_build_option("--rating", type=click.Choice(RATINGS), help="Only posts with this rating. Repeatable.")
@_build_option("--since", metavar="DAY", help="Only posts from this day on (YYYY-MM-DD, UTC).")
@_build_option("--until", metavar="DAY", help="Only posts up to this day, inclusive.")
@_build_option(
    "--any-tag",
    metavar="TAG",
    help="Only posts with this tag, or with any of them if repeated. An asterisk matches any characters.",
)
@_build_option("--none-of", metavar="TAG", help="Leave out posts with this tag. Repeatable.")
@_build_option("--ids", help="Only the posts in this file, one id per line.")
@_build_option("--shard-samples", help="Maximum number of pictures in a shard.")
@_build_option("--workers", help="Number of processes. Default: one per core.")
@_build_option(
    "--engine", type=click.Choice(ENGINES), help="Run on this machine's processes or on a Dask cluster."
)
@_build_option(
    "--scheduler",
    metavar="ADDR",
    help="Address of the Dask scheduler (tcp://host:8786). Default: a local cluster of --workers processes.",
)
@_build_option(
    "--dry-run",
    help="Show the plan without writing a dataset. Prepared files stay in DATASET/.build for the build.",
)
@_build_option("--new-plan", help="Replace a dataset built with other options.")
@as_json_option
def build_shards(
    *,
    store: str,
    dataset: str,
    work: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - typed by BuildConfig
) -> None:
    """Build a DATASET from a STORE: shards, tables, splits.

    STORE and DATASET are folders, or URLs such as s3://bucket/folder. The command chooses the tag vocabulary,
    assigns splits, and writes resized pictures as WebDataset shards with Parquet tables. If the store has
    grown since the last build, it adds shards and leaves existing ones unchanged.
    """
    from alti2v.dataset.build import build_shards as build

    if options["split"] == "id-modulo":
        _refuse(["test", "validation"], "--split id-modulo is given: leave it out, or give --split hash.")
    if options["quota"]:
        _refuse(["top_tags"], "--quota is given: leave out one of the two.")
    config = BuildConfig(
        store=address(store),
        dataset=local_folder(dataset, work, purpose="the plan, tables and unfinished shards"),
        url=dataset if is_url(dataset) else None,
        **options,
    )
    with progress_display() as progress:
        report = build(config, progress=progress)
    print_result(report, as_json=as_json, table=_built(report))


def _refuse(names: Sequence[str], why: str) -> None:
    for name in names:
        if click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} has no effect when {why}")


def _built(report: BuildReport) -> dict[str, str | None]:
    about = "about " if report.saved is not None else ""
    splits = ("train", "validation", "test")
    return {
        "plan only": None if report.saved is None else f"nothing was published; saved in {report.saved}",
        "posts": f"{sum(report.outcomes.values()):,}",
        **{f"  {outcome_label(name)}": f"{count:,}" for name, count in report.outcomes.items()},
        "pictures": ", ".join(
            f"{getattr(report, split):,} {split}{_short(getattr(report, split), report.asked.get(split))}"
            for split in splits
        ),
        "near-duplicates": f"{counted(report.alike, 'picture')} in {counted(report.groups, 'group')}"
        + _apart(report.astray),
        "tags": f"{report.tags:,}: {_listed(report.categories)}; "
        f"the rarest on {counted(report.rarest, 'training picture')}",
        "  left out": _listed(report.left_out) or None,
        **_named(report),
        "shards": f"{report.shards:,}: {_listed(report.shards_of)}; {about}{size(report.bytes)}",
        "time": duration(report.seconds),
        "dataset": f"{report.dataset}, version {report.edition} (every change adds one)",
        "plan hash": f"{report.plan_hash[:_SHOWN_DIGITS]}, the same whenever posts and options are the same",
    }


def _short(found: int, asked: int | None) -> str:
    return "" if asked is None or found == asked else f" of {asked:,} asked for"


def _apart(astray: int) -> str:
    return f", {astray:,} of them in another split than their group" if astray else ", each group in one split"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _named(report: BuildReport) -> dict[str, str]:
    """Return table rows for tags of `--keep` and `--drop` that need a remark."""
    lines = {
        "  kept although rare": [f"{tag} ({count:,})" for tag, count in report.rare.items() if count],
        "  not kept, in no training picture": [tag for tag, count in report.rare.items() if not count],
        "  to drop, but in no post": list(report.unmet),
    }
    return {name: ", ".join(tags) for name, tags in lines.items() if tags}


@click.command()
@click.argument("directory", type=address, metavar="STORE|DATASET", required=False)
@click.option(
    "--repair",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[STORE]",
    help="Repair what can be repaired; for a dataset, give its STORE to rebuild damaged shards.",
)
@work_option("Local folder of a STORE that is at a URL.")
@click.option("--deep", is_flag=True, help="Also decode all pictures of a dataset.")
@as_json_option
def verify(
    *, directory: Path | str | None, repair: str | None, work: Path | None, deep: bool, as_json: bool
) -> None:
    """Re-read a STORE or DATASET and list its faults.

    Either may be a URL. A STORE at a URL needs the --work of its crawl; a dataset at a URL is checked, but not
    repaired.
    """
    check_local(repair or "", "--repair")
    if directory is None:  # `verify --repair STORE` is read as a value of the option
        if not repair:
            raise click.UsageError("Missing argument 'STORE|DATASET'.")
        directory, repair = Path(repair), ""
    store = directory if work is None else local_folder(str(directory), work, purpose="its ledger")
    to_fetch = None
    with progress_display() as progress:
        if work is None and (isinstance(directory, str) or _kind(directory) is DirectoryKind.DATASET):
            verification = _verify_dataset(directory, repair, deep=deep, progress=progress)
        elif repair:
            raise click.UsageError("--repair takes a store only for a dataset.")
        else:
            from alti2v.crawl.verify import verify_store

            url, is_repair = None if work is None else str(directory), repair is not None
            verification = verify_store(Path(store), url=url, repair=is_repair, progress=progress)
            if is_repair and verification.findings:
                to_fetch = _to_fetch(Path(store))
    wrong = sum(finding.count for finding in verification.findings if not finding.repaired)
    repaired = sum(finding.count for finding in verification.findings if finding.repaired)
    print_result(
        verification,
        as_json=as_json,
        table={
            **{
                f"{_FOR_PEOPLE.get(item, item)} checked": f"{count:,}"
                for item, count in verification.checked.items()
            },
            **_found(verification.findings),
            "repaired": f"{repaired:,}" if repaired else None,
            "faults": f"{wrong:,}",
            "to be fetched": to_fetch,
        },
    )
    if wrong:
        raise DamagedError(f"{directory} has {counted(wrong, 'fault')}: {_advice(directory, repair, work)}")


def _verify_dataset(
    dataset: Path | str, repair: str | None, *, deep: bool, progress: ProgressHook
) -> Verification:
    from alti2v.dataset.check.repair import repair_damaged
    from alti2v.dataset.check.verify import verify_dataset

    found = verify_dataset(dataset, repair=repair is not None, deep=deep, progress=progress)
    if not repair or all(finding.repaired for finding in found.findings):
        return found
    repair_damaged(Path(dataset), Path(repair), found, progress=progress)
    left = verify_dataset(dataset, repair=True, deep=deep, progress=progress)
    gone = (finding for finding in found.findings if finding not in left.findings)
    return replace(left, findings=(*(replace(finding, repaired=True) for finding in gone), *left.findings))


def _to_fetch(store: Path) -> str | None:
    """Return the table's row for the posts of a store that lost their files; None if there are none."""
    from alti2v.crawl.status import store_status
    from alti2v.storage.store import command_of

    status = store_status(store)
    if not status.pending:
        return None
    return f"{counted(status.pending, 'post')}: run `alti2v {command_of(status.plan)}` again"


def _kind(directory: Path) -> DirectoryKind:
    """Return the kind of a directory, a store or a dataset.

    Raises:
        UsageError: It is neither.
    """
    if not directory.exists():
        raise UsageError(f"{directory} does not exist: give the folder of a store or a dataset")
    kind = kind_of(directory)
    if kind not in (DirectoryKind.STORE, DirectoryKind.DATASET):
        is_run = described_kind(directory) is DirectoryKind.RUN  # programs of others have a config.json, too
        what = "it is a run" if is_run else "it has no store.json and no manifest.json"
        raise UsageError(f"{directory} is not the folder of a store or a dataset: {what}")
    return kind


def _advice(directory: Path | str, repair: str | None, work: Path | None) -> str:
    """Return the next step for findings that were not repaired."""
    if work is not None and repair is None:
        return f"run `alti2v verify {directory} --work {work} --repair`"
    if isinstance(directory, str):
        return "see above"
    is_dataset = kind_of(directory) is DirectoryKind.DATASET
    if repair:
        return "restore the files that have no other advice above from a copy, or build with --new-plan"
    if repair is not None and not is_dataset:  # all that can be tried
        return "see above"
    return repair_advice(directory)


def _found(findings: Sequence[Finding]) -> Mapping[str, str]:
    """Return a table row for each finding, up to `_MOST_FINDINGS`; those of one file are numbered."""
    rows: dict[str, str] = {}
    of_file: Counter[str] = Counter()
    for finding in findings[:_MOST_FINDINGS]:
        of_file[finding.where] += 1
        number = f" ({of_file[finding.where]})" if finding.where in rows else ""
        rows[f"{finding.where}{number}"] = f"{finding.what}{' (repaired)' if finding.repaired else ''}"
    more = len(findings) - _MOST_FINDINGS
    return rows | ({"...": f"and {more:,} more: --json names them all"} if more > 0 else {})


@click.command()
@click.argument("dataset")
@click.option("--ids", type=LOCAL_PATH, required=True, help="File of post ids, one per line.")
@work_option("Local folder for tables; needed if DATASET is a URL.")
@as_json_option
def remove(*, dataset: str, ids: Path, work: Path | None, as_json: bool) -> None:
    """Remove pictures from a DATASET permanently.

    Only the shards that contain them are rewritten. Later builds leave out every post in the file, including
    posts that the dataset does not contain yet. The number of a picture is in the column `id` of the tables in
    metadata/, next to its `url` (for imported pictures, the path of the file). DATASET is a folder, or a URL
    such as s3://bucket/folder.
    """
    from alti2v.dataset.id_file import read_id_lines
    from alti2v.dataset.remove import remove_pictures

    lines = read_id_lines(ids)
    with progress_display() as progress:
        report = remove_pictures(
            local_folder(dataset, work, purpose="its tables"),
            lines.ids,
            url=dataset if is_url(dataset) else None,
            progress=progress,
        )
    nothing = "no new number in the file is in the dataset" if report.noted else "already removed"
    print_result(
        report,
        as_json=as_json,
        table={
            "removed": f"{report.removed:,}" if report.removed else f"nothing: {nothing}",
            "not in the dataset": f"{report.noted:,}, and kept out of later builds" if report.noted else None,
            "shards rewritten": f"{report.shards_rewritten:,}",
            "pictures": f"{report.train:,} train, {report.validation:,} validation, {report.test:,} test",
            "dataset": f"{report.dataset}, version {report.edition}",
        },
    )
    require_all(lines.unusable, "lines are not post numbers", "all others are removed")
