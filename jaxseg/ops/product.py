"""Products of matrices that are summed in float32, whatever their dtype."""

import jax.numpy as jnp
from jaxtyping import Array

from jaxseg.ops import lowering


def product(subscripts: str, a: Array, b: Array) -> Array:
    """`jnp.einsum` with a float32 sum.

    On a CPU, XLA multiplies bfloat16 into float32 for some shapes only, and fails at the first run
    for the others: there the operands are widened, which is exact.
    """
    if lowering.platform() == "cpu":
        a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)
