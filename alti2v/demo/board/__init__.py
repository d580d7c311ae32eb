"""The stand-in board: an HTTP server that speaks both dialects and, on request, misbehaves."""
