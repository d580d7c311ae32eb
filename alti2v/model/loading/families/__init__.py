"""Families of taggers: a small pure reader for each, from files of a folder to a description."""
