"""Taggers of any origin: a description of a model, a reader for each family of folders, and the runtime."""
