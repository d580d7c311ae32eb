"""Dialects of boards, as pure functions from requests to addresses and from answers to posts."""
