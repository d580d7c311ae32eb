"""Import of existing pictures: folders, tables and tar files become a store like that of a crawl."""
