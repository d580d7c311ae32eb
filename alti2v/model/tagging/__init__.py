"""From picture files to tags with a loaded model: decoding, prediction, selection, captions."""
