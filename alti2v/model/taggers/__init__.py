"""Taggers of anybody: one description of a model, a reader for each family of folders, and what runs it."""
