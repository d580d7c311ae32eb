"""One module per board software, pure: from a query to a URL, from the bytes of one answer to posts."""
