"""Backbones: the networks that turn images into features, kept as a table that loads without Keras."""
