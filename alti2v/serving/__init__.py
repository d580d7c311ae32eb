"""A web page and an HTTP API for a trained model; by default only for this machine."""
