"""A dataset that grows: what an earlier build left, how a new version is published, and copies behind a URL."""
