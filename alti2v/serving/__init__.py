"""A page and an HTTP API for a trained model, on a machine's own address unless told otherwise."""
