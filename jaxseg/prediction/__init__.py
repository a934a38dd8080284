"""Prediction with a trained run: in Python (`model`), and for files, as `jaxseg predict` does."""
