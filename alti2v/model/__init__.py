"""From a dataset to a tagger: a module for each command. Only here are TensorFlow and Keras imported."""
