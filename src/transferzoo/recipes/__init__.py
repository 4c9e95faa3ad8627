"""Recipes: how a model is trained, kept as records that load without Keras."""
