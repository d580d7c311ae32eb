"""From picture files to tags: decoding, prediction, selection, and captions beside the pictures."""
