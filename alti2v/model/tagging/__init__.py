"""Tags from picture files: decoding, prediction, selection, and captions beside the pictures."""
