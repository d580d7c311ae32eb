"""Entry of the command line: the group of commands, and errors as one line and an exit status."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

import click

from alti2v import __version__
from alti2v.commands.crawl import crawl, status
from alti2v.commands.dataset import build_shards, remove, verify
from alti2v.commands.demo import board, demo
from alti2v.commands.describe import describe_model
from alti2v.commands.export import export
from alti2v.commands.import_ import import_
from alti2v.commands.model import evaluate, train
from alti2v.commands.serve import serve
from alti2v.commands.stats import stats
from alti2v.commands.tagging import tag
from alti2v.commands.vectors import embed, kpi, search
from alti2v.errors import Alti2vError, UsageError
from alti2v.output import INTERRUPTED, ReaderGoneError, standard_streams, tell
from alti2v.signals import exit_status, signals_raise

_NOT_UTF8 = "surrogates not allowed"  # Python's words for a byte of an argument that it could not decode


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the documented status."""
    with standard_streams():
        status = _status_of(arguments)
    sys.exit(status)


def _status_of(arguments: list[str] | None) -> int:
    """Run the command line, and return its exit status."""
    interrupt: BaseException | None = None
    try:
        with signals_raise() as noted:
            try:
                cli.main(args=arguments, prog_name="alti2v", standalone_mode=False)
            finally:
                interrupt = noted()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except (BrokenPipeError, ReaderGoneError):  # `alti2v ... | head` has closed the pipe
        return 0
    except (KeyboardInterrupt, click.Abort) as exc:
        # Click aborts at an interrupt; before 8.1.4 without a cause
        interrupt = exc if isinstance(exc, KeyboardInterrupt) else exc.__context__
    except Exception as exc:
        status = _told(exc)
        if status is not None:
            return status
        if interrupt is None:  # else a library has made its own exception of that of the signal
            raise
    else:
        return 0
    tell(INTERRUPTED)
    return exit_status(interrupt)


def _told(error: Exception) -> int | None:
    """Print an error that the user can fix, and return the exit status; None for any other error."""
    if isinstance(error, Alti2vError):
        tell(f"alti2v: {error}")
        return error.exit_status
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            tell(line)
        return UsageError.exit_status
    if isinstance(error, UnicodeEncodeError) and error.reason == _NOT_UTF8:
        tell(f"alti2v: an argument is not UTF-8 text: {error.object[:200]}: give it in UTF-8")
        return UsageError.exit_status
    return None


class _InOrder(click.Group):
    """Group that lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Build your own illustration tagger from an image board or from pictures that you have.

    `crawl` fetches a board into a STORE, `build-shards` builds a DATASET from it, `train` trains a RUN on that,
    and `eval` evaluates the run. Every command can be run again at any time: it does only what is missing.

    Exit status: 0 done, 1 failed, 2 usage, 3 incomplete (the remote side did not deliver everything; run again
    later), 4 damaged data, 130 interrupted (143 by SIGTERM, 129 by a closed terminal).
    """


for _command in (
    demo,
    board,
    crawl,
    import_,
    status,
    build_shards,
    stats,
    remove,
    verify,
    train,
    evaluate,
    describe_model,
    tag,
    embed,
    search,
    kpi,
    export,
    serve,
):
    cli.add_command(_command)
