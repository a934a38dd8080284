"""Variables and compilation that keep the models' tests fast."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(scope="session")
def random_variables():
    """Variables without zeros: score layers and the last scale of a residual branch start at zero.

    Drawn by numpy, which has no initialiser to compile.
    """

    def make(model, images, seed=0):
        key = jax.random.key(0)
        # an encoder was told by its layers whether it trains
        mode = {} if hasattr(model, "layers") else {"train": False}
        shapes = jax.eval_shape(lambda images: model.init(key, images, **mode), images)
        rng = np.random.default_rng(seed)

        def draw(path, leaf):
            spreads = {
                "kernel": (0, math.sqrt(2 / math.prod(leaf.shape[:-1]))),
                "scale": (1, 0.2),
                "var": (1, 0.1),
            }
            mean, spread = spreads.get(path[-1].key, (0, 0.2))
            return jnp.asarray(rng.normal(mean, spread, size=leaf.shape), jnp.float32)

        return jax.tree.map_with_path(draw, shapes)

    return make


@pytest.fixture(scope="session")
def run_compiled():
    """Call a function under jit. Each program runs once: unoptimized, it compiles twice as fast."""

    def run(function, *args):
        options: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
        return jax.jit(function).lower(*args).compile(compiler_options=options)(*args)

    return run
