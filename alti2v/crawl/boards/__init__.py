"""The boards' dialects, pure: which URL to ask, and what the bytes of one answer mean."""
