"""Entry of the command line: the group of commands, and errors as one line and an exit status."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from alti2v import __version__
from alti2v.commands.crawl import crawl, status
from alti2v.commands.dataset import build_shards, remove, verify
from alti2v.commands.demo import board, demo
from alti2v.commands.export import export
from alti2v.commands.model import evaluate, train
from alti2v.commands.serve import serve
from alti2v.commands.stats import stats
from alti2v.commands.tagging import tag
from alti2v.commands.vectors import embed, kpi, search
from alti2v.errors import Alti2vError, TerminatedError, UsageError

_INTERRUPTED, _TERMINATED = 130, 143  # 128 + the signal's number, the shells' convention


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the documented status."""
    try:
        cli.main(args=arguments, prog_name="alti2v", standalone_mode=False)
        status = 0
    except Alti2vError as exc:
        click.echo(f"alti2v: {exc}", err=True)
        status = exc.exit_status
    except click.ClickException as exc:
        exc.show()
        status = UsageError.exit_status
    except click.exceptions.Exit as exc:
        status = exc.exit_code
    except (KeyboardInterrupt, click.Abort) as exc:
        click.echo("alti2v: interrupted; nothing stored is lost, run the same command again to go on", err=True)
        status = _TERMINATED if isinstance(exc.__cause__, TerminatedError) else _INTERRUPTED  # click's Abort
    except BrokenPipeError:  # `alti2v ... | head` has closed the pipe
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - held until exit
        status = 0
    sys.exit(status)


class _InOrder(click.Group):
    """Group that lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """From an illustration board to an illustration tagger of your own.

    `crawl` fetches a board into a STORE, `build-shards` builds a DATASET from it, `train` trains a RUN on that,
    and `eval` evaluates the run. Every command can be run again at any time: it does only what is missing.

    Exit status: 0 done, 1 failed, 2 usage, 3 incomplete (the remote side did not deliver everything; run again
    later), 4 damaged data, 130 interrupted (143 by SIGTERM).
    """


for _command in (
    demo,
    board,
    crawl,
    status,
    build_shards,
    stats,
    remove,
    verify,
    train,
    evaluate,
    tag,
    embed,
    search,
    kpi,
    export,
    serve,
):
    cli.add_command(_command)
