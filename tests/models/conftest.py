"""Variables and encoders that keep the models' tests fast."""

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


@pytest.fixture
def shallow(monkeypatch):
    """Encoders of one block of each kind: seconds to compile, rather than a minute."""
    from jaxseg.models import efficientnet_lite, mobilenet_v2, resnet, xception

    for family in (mobilenet_v2, efficientnet_lite):
        for name, rows in family.VARIANTS.items():
            rows = tuple(row._replace(blocks=1) for row in rows)
            monkeypatch.setitem(family.VARIANTS, name, rows)
    for variants in (xception.VARIANTS, xception.ALIGNED_VARIANTS):
        for name, rows in variants.items():
            monkeypatch.setitem(variants, name, (*rows[:4], *rows[-2:]))
    for name, (*kind, _) in resnet.VARIANTS.items():
        monkeypatch.setitem(resnet.VARIANTS, name, (*kind, (1, 2, 1, 2)))
