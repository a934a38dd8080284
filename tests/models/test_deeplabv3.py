from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.deeplabv3 import SPP, DeepLabV3
from jaxseg.ops.conv import Conv
from jaxseg.ops.depthwise import DepthwiseConv
from jaxseg.ops.layers import bind

SMALL: dict[str, Any] = {"backbone": "resnet18", "width_multiplier": 2 / 64, "aspp_channels": 3}


def initial(model, size=(64, 64)):
    """Outputs and variables, as shapes alone."""
    images = jnp.ones((1, *size, 3))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, train=False))


@pytest.mark.parametrize(
    ("backbone", "count"), [("resnet50", 42_004_074), ("resnet101", 60_996_202)]
)
def test_parameter_counts_of_torchvision(backbone, count):
    model = DeepLabV3(21, backbone, output_stride=8, head_conv=True, aux_head=True)
    (logits, out), variables = initial(model, (65, 97))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    assert logits.shape == out["aux_logits"].shape == (1, 9, 13, 21)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(
    ("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36]), (32, [3, 6, 9])]
)
def test_rates_follow_the_output_stride(output_stride, rates, separable):
    found = []

    def record(call, args, kwargs, context):
        module = context.module
        if isinstance(module, Conv | DepthwiseConv) and module.kernel_size == 3:
            found.extend([module.dilation] if "atrous" in "".join(module.path) else [])
        return call(*args, **kwargs)

    model = DeepLabV3(2, output_stride=output_stride, separable=separable, **SMALL)
    with nn.intercept_methods(record):
        (logits, _), _ = initial(model)
    assert found == rates
    assert logits.shape[1] == 64 // output_stride


@pytest.mark.parametrize("output_stride", [8, 64, 256])
def test_a_cascade_of_seven_blocks_has_any_output_stride(output_stride):
    """Table 1. The same parameters whatever the stride."""
    cascade: dict[str, Any] = {"stages": 7, "context_module": "none", **SMALL}
    (logits, out), variables = initial(
        DeepLabV3(2, output_stride=output_stride, **cascade), (257, 513)
    )
    assert logits.shape[1:3] == (256 // output_stride + 1, 512 // output_stride + 1)
    assert out["stage7"].shape == out["context"].shape
    assert set(variables["params"]) == {"encoder", "logits"}
    _, others = initial(DeepLabV3(2, output_stride=8, **cascade))
    assert variables == others


@pytest.mark.parametrize(
    ("strides", "options"),
    [((32, 16, 8), {}), ((64, 32, 16), {"stages": 5, "multi_grid": (1, 2)})],
)
def test_logits_are_the_strided_ones_made_dense(strides, options, random_variables, run_compiled):
    """Atrous backbone, cascade and ASPP together: the logits of the first stride, and more between.

    Image pooling alone takes its mean over more positions, so it is left out.
    """
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 97, 135, 3)), jnp.float32)
    options = {"atrous_rates": (4, 8), "image_pooling": False, **SMALL, **options}
    options["first_block_rate"] = "previous"

    def logits(variables, output_stride):
        model = DeepLabV3(3, output_stride=output_stride, **options)
        return model.apply(variables, images, train=False)[0]

    variables = random_variables(DeepLabV3(3, **options), images)
    coarse, middle, dense = run_compiled(
        lambda variables: [logits(variables, stride) for stride in strides], variables
    )
    assert dense.shape[1] == -(-97 // strides[-1])
    assert np.abs(dense[:, ::2, ::2] - middle).max() < 1e-3 * np.ptp(dense)
    assert np.abs(dense[:, ::4, ::4] - coarse).max() < 1e-3 * np.ptp(dense)


def test_image_pooling_spreads_every_pixel_over_the_whole_map(random_variables, run_compiled):
    """Without atrous branches, only image pooling carries a corner beyond the receptive field."""
    images = jnp.zeros((1, 16, 640, 3))

    def far_end(image_pooling):
        model = DeepLabV3(3, atrous_rates=(), image_pooling=image_pooling, **SMALL)
        variables = random_variables(model, images)

        def forward(variables, first):
            return model.apply(variables, images.at[:, :, :8].set(first), train=False)[0][:, :, -1]

        ends = jax.vmap(forward, in_axes=(None, 0))
        return run_compiled(ends, variables, jnp.array([0.0, 30.0]))

    near, far = far_end(True)
    assert np.abs(near - far).max() > 1e-4
    near, far = far_end(False)
    np.testing.assert_allclose(near, far, atol=1e-6)


@pytest.mark.parametrize(("level", "reach"), [("bins4", 6), ("bins2", 12), ("bins1", 16)])
def test_each_level_of_spatial_pyramid_pooling_reaches_its_bin(level, reach, run_compiled):
    """On 16x16 the first pixel moves bin 0, which is felt up to the centre of bin 1."""
    features = 3
    layers = bind(train=False, dtype=jnp.float32)
    spp: Any = SPP(features, "half_pixel", layers)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 16, 16, 5)), jnp.float32)
    variables = run_compiled(spp.init, jax.random.key(0), x)
    # of the four branches, the projection reads this one alone, and no ReLU hides it
    place = ["conv1x1", "bins4", "bins2", "bins1"].index(level) * features
    kernel = np.zeros((1, 1, 4 * features, features), np.float32)
    kernel[0, 0, place : place + features] = np.eye(features)
    variables["params"]["project"]["conv"]["kernel"] = jnp.asarray(kernel)
    weights = variables["params"][level]["conv"]
    weights["kernel"] = jnp.abs(weights["kernel"])

    def change(variables):
        return spp.apply(variables, x.at[0, 0, 0].add(50.0)) - spp.apply(variables, x)

    moved = run_compiled(change, variables)
    rows, cols = np.nonzero(np.abs(moved[0]).max(axis=-1) > 1e-5)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (0, reach - 1, 0, reach - 1)


def test_names_of_the_parts():
    """What imported weights are mapped to."""
    separable = DeepLabV3(2, separable=True, head_conv=True, aux_head=True, **SMALL)
    params = initial(separable)[1]["params"]
    parts = {"encoder", "aspp", "head", "logits", "aux", "aux_logits"}
    assert set(params) == parts
    branches = {"conv1x1", "atrous1", "atrous2", "atrous3", "image_pooling", "project"}
    assert set(params["aspp"]) == branches
    convs = {"depthwise_conv", "pointwise_conv", "norm"}
    assert set(params["aspp"]["atrous1"]) == set(params["head"]) == {*convs, "depthwise_norm"}
    plain = initial(DeepLabV3(2, separable=True, depthwise_norm=False, **SMALL))[1]["params"]
    assert set(plain["aspp"]["atrous1"]) == convs
    tensorflow = initial(DeepLabV3(2, atrous_rates=(), **SMALL))[1]["params"]
    assert set(tensorflow["aspp"]) == {"conv1x1", "image_pooling", "project"}
    assert set(tensorflow) == {"encoder", "aspp", "logits"}


@pytest.mark.parametrize("context", ["aspp", "spp", "none"])
def test_contexts(context):
    (logits, out), variables = initial(DeepLabV3(2, context_module=context, **SMALL))
    assert logits.shape == (1, 4, 4, 2)
    assert ({"aspp", "spp"} & set(variables["params"])) == {context} - {"none"}
    assert out["context"].shape[-1] == (16 if context == "none" else 3)


def test_dropout_acts_in_training_alone(random_variables, run_compiled):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 33, 33, 3)), jnp.float32)
    model = DeepLabV3(3, dropout=0.5, **SMALL)
    variables = random_variables(model, images)

    def train(key):
        rngs = {"dropout": key}
        return model.apply(variables, images, train=True, mutable=["batch_stats"], rngs=rngs)[0][0]

    one, two = run_compiled(jax.vmap(train), jax.random.split(jax.random.key(0), 2))
    assert np.any(one != two)
    initial(model)  # asks for no random key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_module": "asp"}, "context_module is 'asp', expected one of aspp, spp, none"),
        ({"corners": "round"}, "corners is 'round'"),
        ({"stages": 8}, "stages is 8"),
        ({"output_stride": 64}, "output_stride is 64"),
        ({"backbone": "mobilenet_v2", "stages": 5}, "stages is 5, but mobilenet_v2 has no such"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        DeepLabV3(2, **options)
