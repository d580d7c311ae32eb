"""From a board to a store: complete listings, polite downloads, nothing lost."""
