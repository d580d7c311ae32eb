"""Which posts exist: everything that is asked of a board's API."""
