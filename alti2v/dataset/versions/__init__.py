"""Versions of a dataset that grows: read the current one, write and publish the next one."""
