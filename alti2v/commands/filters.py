"""Options of `build-shards` that choose posts of the store."""

from __future__ import annotations

import click

from alti2v.commands.options import LOCAL_PATH, together
from alti2v.dataset.filter_options import RATINGS

filter_options = together(
    click.option(
        "--min-side",
        type=int,
        help="Only originals at least this wide and high, in px. If the board states no size, that of the "
        "stored picture counts.",
    ),
    click.option(
        "--max-aspect",
        type=float,
        help="Only originals whose longer side is at most this many times as long as the shorter one.",
    ),
    click.option("--min-score", type=int, help="Only posts with at least this score."),
    click.option(
        "--rating", type=click.Choice(RATINGS), multiple=True, help="Only posts with this rating. Repeatable."
    ),
    click.option("--since", metavar="DAY", help="Only posts from this day on (YYYY-MM-DD, UTC)."),
    click.option("--until", metavar="DAY", help="Only posts up to this day, inclusive."),
    click.option(
        "--any-tag",
        metavar="TAG",
        multiple=True,
        help="Only posts with this tag, or with any of them if repeated. An asterisk matches any characters.",
    ),
    click.option("--none-of", metavar="TAG", multiple=True, help="Leave out posts with this tag. Repeatable."),
    click.option("--ids", type=LOCAL_PATH, help="Only the posts in this file, one id per line."),
)
