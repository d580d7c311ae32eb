"""`python -m alti2v ...` is `alti2v ...`."""

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; a signal while it is imported ends the program without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)

    from alti2v.cli import main as command_line

    command_line()


def _end(number: int, _: object) -> None:
    os.write(2, b"alti2v: interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    if not sys.flags.safe_path:
        current = sys.path.pop(0)  # a `json.py` in the current folder must not run
        from pathlib import Path

        if Path(__file__).parents[1] == Path(current):  # a checkout: workers need it, behind everything else
            sys.path.append(current)

    main()
