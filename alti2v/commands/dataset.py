"""`alti2v build-shards`, `alti2v verify` and `alti2v remove`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    work_option,
)
from alti2v.commands.terminating import sigterm_raises
from alti2v.dataset.manifest import ImageRecipe
from alti2v.errors import DamagedError, UsageError
from alti2v.records import Finding
from alti2v.storage.directory import DirectoryKind, kind_of
from alti2v.storage.remote import is_url
from alti2v.terminal import duration, print_result, progress_display, size

if TYPE_CHECKING:
    from alti2v.dataset.report import BuildReport

_MOST_FINDINGS = 20  # lines; a lost tar file can bring tens of thousands


@click.command("build-shards")
@click.argument("store")
@click.argument("dataset")
@work_option("Where DATASET is a URL: the local folder for the plan, tables and what is not finished.")
@click.option(
    "--size", type=int, default=ImageRecipe().size, show_default=True, help="Side of the square pictures, px."
)
@click.option(
    "--fit",
    type=click.Choice(["letterbox", "squash", "crop"]),
    default="letterbox",
    show_default=True,
    help="Whole on white, whole and stretched, or the middle; `train` takes letterbox.",
)
@click.option(
    "--format",
    type=click.Choice(["jpeg", "webp"]),
    default="jpeg",
    show_default=True,
    help="Of the pictures in the shards; `train` takes jpeg.",
)
@click.option(
    "--keep-original",
    is_flag=True,
    help="Store pictures as they came, each with the suffix of its format; not for `train`.",
)
@click.option("--quality", type=int, default=95, show_default=True, help="Of the pictures, 1 to 100.")
@click.option(
    "--chroma",
    type=click.Choice(["4:2:0", "4:4:4"]),
    default="4:2:0",
    show_default=True,
    help="Sampling of colours in the JPEGs.",
)
@click.option("--top-tags", type=int, default=5000, show_default=True, help="Size of the tag vocabulary.")
@click.option("--min-count", type=int, default=1, show_default=True, help="Training pictures a tag needs.")
@click.option(
    "--quota",
    multiple=True,
    default=(),
    metavar="CATEGORY=N",
    help="The N most frequent tags of a category; repeatable. Instead of --top-tags.",
)
@click.option("--ratings", is_flag=True, help="Learn the ratings, too, as tags rating:general ...")
@click.option(
    "--keep", type=LOCAL_PATH, default=None, help="File of tags, one on a line, to learn however rare."
)
@click.option("--drop", type=LOCAL_PATH, default=None, help="File of tags, one on a line, not to learn.")
@click.option("--keep-meta", is_flag=True, help="Do not leave meta tags out.")
@click.option("--keep-artist", is_flag=True, help="Do not leave artist tags out.")
@click.option("--test", type=int, default=20_000, show_default=True, help="Test pictures.")
@click.option("--validation", type=int, default=10_000, show_default=True, help="Validation pictures.")
@click.option(
    "--split",
    type=click.Choice(["hash", "id-modulo"]),
    default="hash",
    show_default=True,
    help="How sides are decided: by a hash of the group of alike pictures, or by id modulo 1000.",
)
@click.option("--shard-samples", type=int, default=10_000, show_default=True, help="Pictures in one shard.")
@click.option(
    "--workers", type=int, default=None, help="Processes; as many as there are cores where not given."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="What runs the work: processes of this machine, or a Dask cluster.",
)
@click.option(
    "--scheduler",
    metavar="ADDR",
    default=None,
    help="Of the Dask cluster, as tcp://host:8786; where not given, --workers processes here are one.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the plan and write no dataset; what it took stays in DATASET/.build for the build.",
)
@click.option("--new-plan", is_flag=True, help="Replace a dataset that was built with other options.")
@as_json_option
def build_shards(
    *,
    store: str,
    dataset: str,
    work: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - typed by BuildConfig
) -> None:
    """Make a DATASET of a STORE: shards, tables, splits.

    Each is a folder, or a URL such as s3://bucket/folder. Decides the tag vocabulary and the split, and writes
    resized pictures as WebDataset shards with Parquet tables. On a store that has grown since: adds shards, and
    leaves those that are there as they are.
    """
    from alti2v.dataset.build import build_shards as build
    from alti2v.dataset.config import BuildConfig

    if options["split"] == "id-modulo":
        _refuse(["test", "validation"], "numbers decide: leave it out, or --split hash.")
    if options["quota"]:
        _refuse(["top_tags"], "quotas decide: leave it or --quota out.")
    config = BuildConfig(
        store=store if is_url(store) else Path(store),
        dataset=local_folder(dataset, work, purpose="the plan, tables and what is not finished"),
        url=dataset if is_url(dataset) else None,
        **options,
    )
    with sigterm_raises(), progress_display() as progress:
        report = build(config, progress=progress)
    print_result(
        report,
        as_json=as_json,
        table=_built(report),
    )


def _refuse(names: Sequence[str], why: str) -> None:
    for name in names:
        if click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} has no say where {why}")


def _built(report: BuildReport) -> dict[str, str]:
    about = "about " if report.saved is not None else ""
    splits = ("train", "validation", "test")
    return {
        **({} if report.saved is None else {"plan only": f"nothing is published; saved in {report.saved}"}),
        "posts": f"{sum(report.outcomes.values()):,}",
        **{f"  {outcome}": f"{count:,}" for outcome, count in report.outcomes.items()},
        "samples": ", ".join(
            f"{getattr(report, split):,} {split}{_short(getattr(report, split), report.asked.get(split))}"
            for split in splits
        ),
        "alike": f"{report.alike:,} in {report.groups:,} groups" + _apart(report.astray),
        "tags": f"{report.tags:,}: {_listed(report.categories)}; the rarest on {report.rarest:,} to train on",
        **({"  left out": _listed(report.left_out)} if report.left_out else {}),
        **_named(report),
        "shards": f"{report.shards:,}: {_listed(report.shards_of)}; {about}{size(report.bytes)}",
        "time": duration(report.seconds),
        "dataset": f"{report.dataset}, edition {report.edition}",
        "plan": report.plan_hash,
    }


def _short(found: int, asked: int | None) -> str:
    return "" if asked is None or found == asked else f" of {asked:,} asked for"


def _apart(astray: int) -> str:
    return f", {astray:,} of them on different sides" if astray else ", each on one side"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _named(report: BuildReport) -> dict[str, str]:
    """Tags of `--keep` and `--drop` about which there is something to say."""
    lines = {
        "  kept all the same": [f"{tag} ({count:,})" for tag, count in report.rare.items() if count],
        "  not kept, nothing to learn from": [tag for tag, count in report.rare.items() if not count],
        "  to be dropped, but on no post": list(report.unmet),
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
    help="Put right what can be put right; of a dataset, shards too if its store is given.",
)
@click.option("--deep", is_flag=True, help="Also decode every picture of a dataset.")
@as_json_option
def verify(*, directory: Path | str | None, repair: str | None, deep: bool, as_json: bool) -> None:
    """Re-read everything and name what is wrong.

    A dataset may be behind a URL, where nothing is repaired.
    """
    check_local(repair or "", "--repair")
    if directory is None:  # `verify --repair STORE` is read as a value of the option
        if not repair:
            raise click.UsageError("Missing argument 'STORE|DATASET'.")
        directory, repair = Path(repair), ""
    to_fetch = 0
    with sigterm_raises(), progress_display() as progress:
        if isinstance(directory, str) or _kind(directory) is DirectoryKind.DATASET:
            from alti2v.dataset.check.repair import repair_damaged
            from alti2v.dataset.check.verify import verify_dataset

            is_repair = repair is not None
            verification = verify_dataset(directory, repair=is_repair, deep=deep, progress=progress)
            if repair and any(not finding.repaired for finding in verification.findings):
                repair_damaged(Path(directory), Path(repair), verification, progress=progress)
                verification = verify_dataset(directory, repair=True, deep=deep, progress=progress)
        elif repair:
            raise click.UsageError("--repair takes a store only for a dataset.")
        else:
            from alti2v.crawl.status import store_status
            from alti2v.crawl.verify import verify_store

            verification = verify_store(directory, repair=repair is not None, progress=progress)
            if repair is not None and verification.findings:
                to_fetch = store_status(directory).pending
    print_result(
        verification,
        as_json=as_json,
        table={
            **{f"{item} checked": f"{count:,}" for item, count in verification.checked.items()},
            **_found(verification.findings),
            "wrong": f"{len(verification.findings):,}",
            **({"to be fetched": f"{to_fetch:,} posts: run `alti2v crawl` again"} if to_fetch else {}),
        },
    )
    wrong = sum(not finding.repaired for finding in verification.findings)
    if wrong:
        things = "1 thing is" if wrong == 1 else f"{wrong:,} things are"
        raise DamagedError(f"{directory}: {things} wrong: {_advice(directory, repair)}")


def _kind(directory: Path) -> DirectoryKind:
    """Whether it is a store or a dataset.

    Raises:
        UsageError: it is neither.
    """
    if not directory.exists():
        raise UsageError(f"{directory} does not exist: give the folder of a store or a dataset")
    kind = kind_of(directory)
    if kind not in (DirectoryKind.STORE, DirectoryKind.DATASET):
        what = "it has no store.json and no manifest.json" if kind is None else f"it is a {kind}"
        raise UsageError(f"{directory} is not the folder of a store or a dataset: {what}")
    return kind


def _advice(directory: Path | str, repair: str | None) -> str:
    """What to do about what is wrong and was not repaired."""
    if isinstance(directory, str):
        return "see above"
    is_dataset = kind_of(directory) is DirectoryKind.DATASET
    if repair or (repair is not None and not is_dataset):  # all that can be tried
        return "see above"
    return f"run `alti2v verify {directory} {'--repair STORE' if is_dataset else '--repair'}`"


def _found(findings: Sequence[Finding]) -> Mapping[str, str]:
    """What is wrong with each file, as rows of a table; of many findings only the first ones."""
    rows: dict[str, str] = {}
    for finding in findings[:_MOST_FINDINGS]:
        before = f"{rows[finding.where]}; " if finding.where in rows else ""
        rows[finding.where] = f"{before}{finding.what}{' (repaired)' if finding.repaired else ''}"
    more = len(findings) - _MOST_FINDINGS
    return rows | ({"...": f"and {more:,} more: --json names them all"} if more > 0 else {})


@click.command()
@click.argument("dataset")
@click.option("--ids", type=LOCAL_PATH, required=True, help="File with one post number on a line.")
@work_option("Where DATASET is a URL: the local folder for its tables.")
@as_json_option
def remove(*, dataset: str, ids: Path, work: Path | None, as_json: bool) -> None:
    """Take pictures out of a DATASET for good.

    Only their shards are written again; everything else stays, and no later build brings them back. DATASET is
    a folder, or a URL such as s3://bucket/folder.
    """
    from alti2v.dataset.remove import read_ids, remove_pictures

    with sigterm_raises(), progress_display() as progress:
        report = remove_pictures(
            local_folder(dataset, work, purpose="its tables"),
            read_ids(ids),
            url=dataset if is_url(dataset) else None,
            progress=progress,
        )
    is_new = report.removed or report.noted
    print_result(
        report,
        as_json=as_json,
        table={
            "removed": f"{report.removed:,}" if is_new else "nothing: they are out already",
            **({"not in the dataset": f"{report.noted:,}, and never to come"} if report.noted else {}),
            "shards rewritten": f"{report.shards_rewritten:,}",
            "samples": f"{report.train:,} train, {report.validation:,} validation, {report.test:,} test",
            "dataset": f"{report.dataset}, edition {report.edition}",
        },
    )
