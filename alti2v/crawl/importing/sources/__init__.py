"""Sources of an import, read item by item: folders, tables of posts, tar files, WebDatasets."""
