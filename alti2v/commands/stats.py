"""`alti2v stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alti2v.commands.options import address, as_json_option
from alti2v.output import print_result
from alti2v.terminal.display import progress_display


@click.command()
@click.argument("dataset", type=address, metavar="DATASET")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write an HTML page to this file."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Show pictures of this tag. Repeatable.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed for choosing the pictures to show."
)
@as_json_option
def stats(*, html: Path | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by StatsConfig
    """Summarise a DATASET: tags, sizes, sources, near-duplicates.

    Also counts the posts of the store that it was built from, by outcome. DATASET is a folder or a URL.
    """
    from datetime import UTC, datetime

    from alti2v.dataset.stats import StatsConfig, dataset_stats
    from alti2v.report.dataset import stats_table, write_stats_page

    with progress_display() as progress:
        found = dataset_stats(StatsConfig(**options), progress=progress)
    if html is not None:
        write_stats_page(found, html, generated_at=datetime.now(UTC))
    table = stats_table(found)
    print_result(found, as_json=as_json, table=table if html is None else {**table, "page": str(html)})
