"""What a step reads and writes, and nothing else."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, UInt32

from jaxseg.models import contract


@flax.struct.dataclass
class TrainState:
    """The whole state of training. The random key of a step follows from the seed and `step`."""

    step: Any  # int32 array, steps done
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any  # {"params", "batch_stats"} averaged over steps, or None

    @property
    def eval_variables(self) -> dict[str, Any]:
        """What evaluation applies: the averages if they are kept, else the current values."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}


def create(
    model: contract.SegmentationModel,
    tx: optax.GradientTransformation,
    *,
    seed: int | UInt32[Array, ""],
    image_size: tuple[int, int],
    channels: int = 3,
    ema: bool,
) -> TrainState:
    """Fresh parameters and statistics for images of this size, the same for a seed.

    Raises UserError where the model computes something else than it should.
    """
    key = jax.random.key(seed)
    images = jnp.zeros((1, *image_size, channels), jnp.float32)
    variables = contract.init(model, key, images)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    average = {"params": params, "batch_stats": batch_stats} if ema else None
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, tx.init(params), average)
