"""Dialects of boards: pure functions that make the addresses of requests and parse the answers."""
