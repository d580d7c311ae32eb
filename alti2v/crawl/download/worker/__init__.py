"""The same download in a process of its own, for crawls that one Python interpreter would slow down."""
