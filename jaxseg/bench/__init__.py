"""jaxseg against PyTorch: operation by operation, step by step, and the input pipeline."""
