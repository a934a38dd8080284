"""Full-size models with imported weights."""

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(scope="session")
def network():
    """The model that imported weights are for, without dropout, and its variables.

    Nothing is initialised: an entry that the weights do not fill would not be an array.
    """

    def make(imported):
        from jaxseg import models
        from jaxseg.weights.merge import merge

        classes = imported.variables["params/logits/kernel"].shape[-1]
        known = models.options(imported.model)
        options = imported.options | ({"dropout": 0.0} if "dropout" in known else {})
        model = models.build(imported.model, classes, dtype=jnp.float32, **options)
        images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
        shapes = jax.eval_shape(
            lambda images: model.init(jax.random.key(0), images, train=False), images
        )
        variables, report = merge(shapes, imported, model=imported.model)
        assert report.fresh == ()
        return model, jax.tree.map(jnp.asarray, variables)

    return make
