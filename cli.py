"""`python cli.py ...` from a checkout is `alti2v ...`."""

from alti2v.__main__ import main

if __name__ == "__main__":
    main()
