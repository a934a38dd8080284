"""TF-Slim's folded networks against an independent implementation with lax alone.

TF-Slim itself was not run. `graph` takes the foreign entries as they are, and uses nothing of
jaxseg.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.weights.families import slim
from tests.weights import values

# MobileNetV2, table 2: expansion, channels, blocks, stride
ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
BLOCKS = [(t, c, s if i == 0 else 1) for t, c, n, s in ROWS for i in range(n)]


def names_and_shapes(deeplab):
    def layer(name, *shape, kind="weights"):
        channels = shape[-2] if kind == "depthwise_weights" else shape[-1]
        return {f"{name}/{kind}": shape, f"{name}/biases": (channels,)}

    shapes, width = layer("MobilenetV2/Conv", 3, 3, 3, 32), 32
    for number, (expansion, features, _) in enumerate(BLOCKS):
        name = "MobilenetV2/expanded_conv" + (f"_{number}" if number else "")
        inner = expansion * width
        if expansion > 1:
            shapes |= layer(f"{name}/expand", 1, 1, width, inner)
        shapes |= layer(f"{name}/depthwise", 3, 3, inner, 1, kind="depthwise_weights")
        shapes |= layer(f"{name}/project", 1, 1, inner, features)
        width = features
    if deeplab:
        shapes |= layer("aspp0", 1, 1, 320, 256) | layer("image_pooling", 1, 1, 320, 256)
        return (
            shapes
            | layer("concat_projection", 1, 1, 512, 256)
            | layer("logits/semantic", 1, 1, 256, 21)
        )
    return (
        shapes
        | layer("MobilenetV2/Conv_1", 1, 1, 320, 1280)
        | layer("MobilenetV2/Logits/Conv2d_1c_1x1", 1, 1, 1280, 1001)
    )


def graph(entries, x, deeplab):
    """The logits map, as papers and README of the released networks describe it."""

    def conv(x, name, stride=1):
        return _same(x, entries[f"{name}/weights"], stride) + entries[f"{name}/biases"]

    x, output_stride = jax.nn.relu6(conv(x, "MobilenetV2/Conv", 2)), 2
    for number, (expansion, _, stride) in enumerate(BLOCKS):
        name = "MobilenetV2/expanded_conv" + (f"_{number}" if number else "")
        rate = 2 if deeplab and number >= 14 else 1
        if deeplab and number == 13:
            stride = 1
        output_stride *= stride
        inner = jax.nn.relu6(conv(x, f"{name}/expand")) if expansion > 1 else x
        kernel = entries[f"{name}/depthwise/depthwise_weights"]
        inner = _same(inner, np.swapaxes(kernel, 2, 3), stride, rate, groups=inner.shape[-1])
        inner = jax.nn.relu6(inner + entries[f"{name}/depthwise/biases"])
        inner = conv(inner, f"{name}/project")
        x = x + inner if stride == 1 and x.shape == inner.shape else inner
    if not deeplab:
        assert output_stride == 32
        return conv(jax.nn.relu6(conv(x, "MobilenetV2/Conv_1")), "MobilenetV2/Logits/Conv2d_1c_1x1")
    assert output_stride == 16
    pooled = jax.nn.relu(conv(x.mean((1, 2), keepdims=True), "image_pooling"))
    aspp = jax.nn.relu(conv(x, "aspp0"))
    both = jnp.concatenate([jnp.broadcast_to(pooled, aspp.shape), aspp], axis=-1)
    return conv(jax.nn.relu(conv(both, "concat_projection")), "logits/semantic")


def _same(x, kernel, stride, rate=1, groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        rhs_dilation=(rate, rate),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@pytest.mark.parametrize("size", [(64, 96), (65, 49)])
@pytest.mark.parametrize("deeplab", [False, True])
def test_folded_networks_have_the_logits_of_their_graph(deeplab, size, network, run_compiled):
    entries = {k: values.entry(k, shape) for k, shape in names_and_shapes(deeplab).items()}
    images = jnp.asarray(values.images(size))

    imported = slim.recognise(entries)
    assert imported is not None
    model, variables = network(imported)

    ours, theirs = run_compiled(
        lambda variables, entries, images: (
            model.apply(variables, images, train=False)[0],
            graph(entries, images, deeplab),
        ),
        variables,
        entries,
        images,
    )
    assert ours.shape == theirs.shape
    assert imported.folded
    assert imported.model == ("deeplabv3" if deeplab else "classifier")
    spread = float(theirs.max() - theirs.min())
    assert np.abs(ours - theirs).max() <= 1e-4 * spread
    # logits depend on the image, so more than biases is compared
    assert np.abs(theirs - theirs[:, ::-1, ::-1]).max() > 0.01 * spread
