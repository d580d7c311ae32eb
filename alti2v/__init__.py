"""alti2v: the whole way from an illustration board to an illustration tagger of your own."""

__version__ = "0.1.0"
