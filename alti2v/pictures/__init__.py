"""What a picture is, whether it is whole, and its pixels: one answer for crawl, build, tag, embed and serve."""
