"""Downloads in a separate process, for crawls that are limited by a single Python interpreter."""
