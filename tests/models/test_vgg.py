from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.vgg import VGG16
from jaxseg.ops.layers import bind

LAYERS = bind(train=False, dtype=jnp.float32)


@pytest.mark.parametrize(
    ("batch_norm", "count"),
    [
        (False, 14_714_688),  # torchvision's vgg16().features
        (True, 14_714_688 + 4224),  # 4224 biases become 4224 scales and 4224 biases
    ],
)
def test_parameter_count_and_strides(batch_norm, count):
    model = VGG16(LAYERS, batch_norm=batch_norm)
    out, variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.ones((1, 64, 96, 3)))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    channels = [64, 128, 256, 512, 512]
    for i, c in enumerate(channels, start=1):
        assert out[f"pool{i}"].shape == (1, 64 >> i, 96 >> i, c)


@pytest.mark.parametrize(
    ("rounding", "sizes"),
    [
        ("ceil", [(17, 24), (9, 12), (5, 6), (3, 3), (2, 2)]),
        ("floor", [(16, 23), (8, 11), (4, 5), (2, 2), (1, 1)]),
    ],
)
def test_odd_sizes_round(rounding, sizes):
    out = jax.eval_shape(
        lambda: VGG16(LAYERS, width=2, rounding=rounding).init_with_output(
            jax.random.key(0), jnp.ones((1, 33, 47, 3))
        )[0]
    )
    assert [out[f"pool{i}"].shape[1:3] for i in range(1, 6)] == sizes
    shared = ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert [out[name].shape[1:3] for name in shared] == sizes


def test_floor_differs_from_ceil_only_where_it_drops(random_variables, run_compiled):
    """The last row that "floor" drops is not seen; what both have, away from it, is equal."""
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 32, 37, 3)), jnp.float32)
    model: Any = VGG16(LAYERS, width=2)
    variables = random_variables(model, images)

    def pooled(variables):
        floor: Any = VGG16(LAYERS, width=2, rounding="floor")
        return [vgg.apply(variables, images)["pool2"] for vgg in (model, floor)]

    ceil, floor = run_compiled(pooled, variables)
    assert (ceil.shape[2], floor.shape[2]) == (10, 9)
    np.testing.assert_array_equal(ceil[:, :, :8], floor[:, :, :8])
    assert np.abs(ceil[:, :, 8] - floor[:, :, 8]).max() > 0  # floor sees zeros to its right


def test_floor_refuses_images_that_it_would_pool_away():
    model = VGG16(LAYERS, rounding="floor")
    with pytest.raises(UserError, match="image of 40x31, expected at least 32x32"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 40, 31, 3))))
