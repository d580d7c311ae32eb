"""Pictures: recognition, completeness and pixels, the same for crawl, build, tag, embed and serve."""
