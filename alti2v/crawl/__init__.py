"""Board to store: complete listings, polite fetching, nothing lost."""
