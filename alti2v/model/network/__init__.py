"""The Keras model: backbone, head, losses and number formats."""
