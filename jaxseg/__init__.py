"""Semantic segmentation research in JAX."""
