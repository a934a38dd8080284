import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.unet_resnet import UNetResNet
from jaxseg.ops.upsample import METHODS

TINY = {"backbone": "resnet18", "width_multiplier": 0.0625, "decoder_channels": (8, 7, 6, 5, 4)}


def pictures(b, h, w):
    return jnp.asarray(np.random.default_rng(0).normal(size=(b, h, w, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("backbone", "encoder", "channels"),
    [
        ("resnet18", 11_176_512, (512, 256, 128, 64, 64)),
        ("resnet34", 21_284_672, (512, 256, 128, 64, 64)),
        ("resnet50", 23_508_032, (2048, 1024, 512, 256, 64)),
    ],
)
def test_parameter_count(backbone, encoder, channels):
    """The encoder's as torchvision counts, less the classifier; the decoder's by hand."""
    model = UNetResNet(5, backbone=backbone)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), train=False)
    )
    count, x = encoder, channels[0]
    decoder = (256, 128, 64, 32, 16)
    for features, skip in zip(decoder, (*channels[1:], 0), strict=True):
        # two 3x3 convolutions, each with the scale and bias of its batch norm
        count += 9 * (x + skip) * features + 9 * features**2 + 4 * features
        x = features
    count += 9 * 16 * 5 + 5  # the last 3x3, with a bias
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    if backbone == "resnet34":
        assert count == 24_436_949  # segmentation_models_pytorch.Unet("resnet34", classes=5)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("upsampling", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (33, 47)])
def test_every_size_and_upsampling(size, upsampling):
    model = UNetResNet(3, upsampling=upsampling, **TINY, dtype=jnp.bfloat16)
    (logits, out), _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), pictures(2, *size), train=True)
    )
    assert (logits.shape, logits.dtype) == ((2, *size, 3), jnp.float32)
    assert {leaf.dtype for leaf in out.values()} == {jnp.dtype("bfloat16")}


@pytest.mark.usefixtures("shallow")
def test_every_skip_carries_gradient_at_an_odd_size(random_variables, run_compiled):
    """In the first convolution of a block the skip's channels come after the upsampled ones."""
    model, images = UNetResNet(3, upsampling="transposed", **TINY), pictures(1, 41, 70)
    variables = random_variables(model, images)

    def loss(params):
        logits, out = model.apply({**variables, "params": params}, images, train=False)
        return (logits**2).sum(), (logits, out)

    gradient, (logits, out) = run_compiled(jax.grad(loss, has_aux=True), variables["params"])
    assert logits.shape == (1, 41, 70, 3)
    sizes = {name: leaf.shape[1:3] for name, leaf in out.items()}
    assert sizes["up4"] == sizes["stage3"] == (3, 5)
    assert sizes["up1"] == sizes["stem"] == (21, 35)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.abs(leaf).max() > 1e-6, jax.tree_util.keystr(path)
    channels = {4: (32, 16), 3: (8, 8), 2: (7, 4), 1: (6, 4), 0: (5, 0)}
    for level, (x, skip) in channels.items():
        kernel = gradient[f"up{level}"]["conv1"]["kernel"]
        assert kernel.shape[2] == x + skip
        alive = np.abs(kernel).max(axis=(0, 1, 3)) > 0
        for part in (alive[:x], alive[x:]):
            assert not part.size or part.mean() > 0.7  # a ReLU or two may be dead


@pytest.mark.usefixtures("shallow")
def test_the_skip_comes_last(random_variables, run_compiled):
    """Without its last input channels, the block sees the skip no more, only what is below."""
    model, images = UNetResNet(3, **TINY), pictures(1, 32, 32)
    variables = random_variables(model, images)
    params = variables["params"]
    kernel = params["up1"]["conv1"]["kernel"]
    params["up1"]["conv1"]["kernel"] = kernel.at[:, :, 6:].set(0)
    # nothing comes up from below either: then "up1" is constant
    below = jax.tree.map(jnp.zeros_like, params["up2"]["norm2"])
    params["up2"]["norm2"] = {**below, "bias": below["bias"] + 1}
    _, out = run_compiled(lambda v, x: model.apply(v, x, train=False), variables, images)
    inner = np.asarray(out["up1"])[0, 4:-4, 4:-4]  # the padding shows at the border
    assert np.ptp(np.asarray(out["stem"])) > 1
    np.testing.assert_allclose(np.ptp(inner, axis=(0, 1)), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet51"}, "no backbone 'resnet51'"),
        ({"backbone": "xception"}, "unet_resnet: backbone 'xception' .* use 'xception65'"),
        ({"upsampling": "max_unpool"}, "no upsampling 'max_unpool' here"),
        ({"upsampling_corners": "round"}, "corners is 'round'"),
        ({"decoder_channels": (8, 4)}, r"decoder_channels is \(8, 4\), expected 5 numbers"),
        ({"width_multiplier": -1.0}, "width_multiplier is -1.0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        UNetResNet(2, **options)
