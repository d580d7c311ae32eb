"""Dataset to tagger: the only package that imports TensorFlow and Keras."""
