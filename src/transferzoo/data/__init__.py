"""Datasets: the record, its splits, and where images come from."""
