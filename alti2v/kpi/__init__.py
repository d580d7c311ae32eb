"""Regression of scores or clicks on tags or vectors."""
