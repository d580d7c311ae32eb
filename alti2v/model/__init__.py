"""Dataset to tagger: a module for each command, over its rooms. Only here are TensorFlow and Keras imported."""
