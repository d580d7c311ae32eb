"""Families of taggers: for each, a small pure reader that turns files of a folder into a description."""
