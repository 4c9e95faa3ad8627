"""Trained models as files of other formats, checked, and tested like any other model."""
