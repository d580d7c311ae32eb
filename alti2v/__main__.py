"""`python -m alti2v ...` is `alti2v ...`."""

from alti2v.cli import main

if __name__ == "__main__":
    main()
