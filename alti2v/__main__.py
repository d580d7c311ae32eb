"""`python -m alti2v ...` is `alti2v ...`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        current = sys.path.pop(0)  # a `json.py` in the current folder must not run
        from pathlib import Path

        if Path(__file__).parents[1] == Path(current):  # a checkout: workers need it, behind everything else
            sys.path.append(current)

    from alti2v.cli import main

    main()
