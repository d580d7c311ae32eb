"""Import of what people already hold: folders, tables and tar files become a store like that of a crawl."""
