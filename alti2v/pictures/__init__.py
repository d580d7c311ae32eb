"""Pictures: recognise, check and decode files; shared by crawl, build, tag, embed and serve."""
