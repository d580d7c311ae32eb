"""Downloads in a process of their own, for crawls that are limited by a single Python interpreter."""
