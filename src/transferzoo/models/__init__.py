"""From pixels to probabilities: preprocessing, backbone and head as one Keras model."""
