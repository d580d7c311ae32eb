"""Folders with an ONNX model, as other people's programs read and write them."""
