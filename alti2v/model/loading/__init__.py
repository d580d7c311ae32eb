"""From a MODEL argument to a loaded network: our own runs, and other people's taggers."""
