"""Dialects of boards, as pure functions: a question becomes an address, the bytes of an answer posts."""
