"""`python -m alti2v ...` is `alti2v ...`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder: a `json.py` that lies in it must not run

    from alti2v.cli import main

    main()
