"""Import of pictures that exist already: folders, tables and tar files become a store like that of a crawl."""
