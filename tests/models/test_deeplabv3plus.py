import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models.deeplabv3plus import DeepLabV3Plus
from jaxseg.ops.conv import Conv

SMALL = {
    "backbone": "resnet18",
    "width": 2,
    "aspp_channels": 3,
    "low_level_channels": 2,
    "decoder_channels": 4,
}


def test_parameter_count_on_resnet50():
    (logits, out), variables = jax.eval_shape(
        lambda: DeepLabV3Plus(21, aux_head=True).init_with_output(
            jax.random.key(0), jnp.ones((1, 65, 97, 3)), train=False
        )
    )

    def block(k, i, o):  # convolution and batch norm
        return k * k * i * o + 2 * o

    aspp = 2 * block(1, 2048, 256) + 3 * block(3, 2048, 256) + block(1, 5 * 256, 256)
    decoder = block(1, 256, 48) + block(3, 256 + 48, 256) + block(3, 256, 256) + 256 * 21 + 21
    aux = block(3, 1024, 256) + 256 * 21 + 21
    count = 23_508_032 + aspp + decoder + aux
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    assert logits.shape == (1, 17, 25, 21)
    assert out["stage4"].shape == (1, 5, 7, 2048)
    assert out["aux_logits"].shape == (1, 5, 7, 21)


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36]), (32, [3, 6, 9])]
)
def test_rates_follow_the_output_stride(output_stride, rates):
    found = []

    def look(call, args, kwargs, context):
        module = context.module
        if isinstance(module, Conv) and "atrous" in "".join(module.path):
            found.append(module.dilation)
        return call(*args, **kwargs)

    model = DeepLabV3Plus(2, output_stride=output_stride, **SMALL)
    with nn.intercept_methods(look):
        _, out = jax.eval_shape(
            lambda: model.init_with_output(
                jax.random.key(0), jnp.ones((1, 64, 64, 3)), train=False
            )[0]
        )
    assert found == rates
    assert out["stage4"].shape[1] == 64 // output_stride


def test_both_inputs_of_the_decoder_matter(random_variables, run_compiled):
    model = DeepLabV3Plus(3, **SMALL)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 33, 40, 3)), jnp.float32)
    variables = random_variables(model, images)
    params = variables["params"]

    def logits(low, high):
        """The logits with the two inputs of the decoder's concatenation scaled."""
        kernel = params["decoder1"]["conv"]["kernel"]
        scale = jnp.concatenate([jnp.full(3, high), jnp.full(2, low)])[:, None]
        decoder1 = {**params["decoder1"], "conv": {"kernel": kernel * scale[None, None]}}
        scaled = {**variables, "params": {**params, "decoder1": decoder1}}
        return model.apply(scaled, images, train=False)[0]

    both, no_low, no_high = run_compiled(
        jax.vmap(logits), jnp.array([1.0, 0.0, 1.0]), jnp.array([1.0, 1.0, 0.0])
    )
    assert np.abs(both - no_low).max() > 1e-3
    assert np.abs(both - no_high).max() > 1e-3


def test_image_pooling_spreads_every_pixel_over_the_whole_map(random_variables, run_compiled):
    """Without atrous branches, only image pooling carries a corner beyond the receptive field."""
    model = DeepLabV3Plus(3, atrous_rates=(), **SMALL)
    images = jnp.zeros((1, 16, 640, 3))
    variables = random_variables(model, images)

    def far_end(variables, first):
        return model.apply(variables, images.at[:, :, :8].set(first), train=False)[0][:, :, -1]

    near, far = run_compiled(
        jax.vmap(far_end, in_axes=(None, 0)), variables, jnp.array([0.0, 30.0])
    )
    assert np.abs(near - far).max() > 1e-4
    pooling = jax.tree.map(np.zeros_like, variables["params"]["aspp"]["image_pooling"])
    aspp = {**variables["params"]["aspp"], "image_pooling": pooling}
    without = {**variables, "params": {**variables["params"], "aspp": aspp}}
    near, far = run_compiled(jax.vmap(far_end, in_axes=(None, 0)), without, jnp.array([0.0, 30.0]))
    np.testing.assert_allclose(near, far, atol=1e-6)
