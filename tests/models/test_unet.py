import itertools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.unet import UPSAMPLING, Encoder, UNet
from jaxseg.ops.resize import resize


def pictures(b, h, w):
    return jnp.asarray(np.random.default_rng(0).normal(size=(b, h, w, 3)), jnp.float32)


IMAGES = pictures(1, 24, 24)


@pytest.fixture(scope="module")
def model():
    return UNet(3, width=4, depth=2)


@pytest.fixture(scope="module")
def evaluate(model):
    return jax.jit(lambda variables, images: model.apply(variables, images, train=False))


def shapes(model, images_shape):
    """Logits, endpoints and variables, without computing them."""
    images = jnp.ones(images_shape)
    (logits, out), variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), images, train=False)
    )
    return logits, out, variables


@pytest.mark.parametrize("batch_norm", [True, False])
def test_parameter_count_of_the_paper(batch_norm):
    """Five levels of two 3x3 convolutions, and up-convolutions that halve the channels."""
    per_channel = 2 if batch_norm else 1  # a scale and a bias, or a bias alone
    model = UNet(2, batch_norm=batch_norm)
    *_, variables = shapes(model, (1, 16, 16, 1))
    count = 64 * 2 + 2  # the last 1x1
    channels = [1, 64, 128, 256, 512, 1024]
    for i, o in itertools.pairwise(channels):
        count += 9 * i * o + 9 * o * o + 2 * per_channel * o
    for i, o in itertools.pairwise(reversed(channels[1:])):
        count += 4 * i * o + o  # 2x2 up-convolution with its bias
        count += 9 * (2 * o) * o + 9 * o * o + 2 * per_channel * o  # the skip doubles the channels
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    if not batch_norm:
        assert count == 31_030_658
        assert "batch_stats" not in variables


def test_the_paper_turns_572_pixels_into_388():
    """Figure 1, size by size."""
    model = UNet(2, padding="valid", batch_norm=False, dropout=(0.5, 0.5))
    logits, out, _ = shapes(model, (1, 572, 572, 1))
    assert logits.shape == (1, 388, 388, 2)
    assert model.context == 92
    sizes = {name: leaf.shape[1:] for name, leaf in out.items()}
    down = [(568, 568, 64), (280, 280, 128), (136, 136, 256), (64, 64, 512), (28, 28, 1024)]
    up = [(388, 388, 64), (196, 196, 128), (100, 100, 256), (52, 52, 512)]
    assert sizes == {
        **{f"level{i}": size for i, size in enumerate(down)},
        **{f"up{i}": size for i, size in enumerate(up)},
    }


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_valid_sizes(upsampling, depth):
    """`fit` gives those that go in, `context` what is lost; the others are refused."""
    model = UNet(2, width=1, depth=depth, padding="valid", upsampling=upsampling)
    fitting = []
    for n in range(1, model.fit(1) + 2 * model.grid + 1):
        if n == model.fit(n):
            fitting.append(n)
            logits, *_ = shapes(model, (1, n, n + model.grid, 3))
            rows = n - 2 * model.context
            assert logits.shape[1:3] == (rows, rows + model.grid)
    assert len(fitting) == 3
    assert np.diff(fitting).tolist() == [2**depth] * 2
    assert 0 < fitting[0] - 2 * model.context <= 2**depth  # no smaller one would do
    for n in range(fitting[0], fitting[1]):  # no other keeps all pooled maps even
        maps = [float(n)]
        for _ in range(depth):
            maps.append((maps[-1] - 4) / 2)
        even = all(size % 2 == 0 for size in maps[:-1])
        assert even == (n == fitting[0])


@pytest.mark.parametrize(
    ("size", "message"),
    [((570, 572), "570x572, for 570 .*use 556 or 572"), ((572, 99), "for 99 .*use 188")],
)
def test_sizes_that_do_not_fit_are_refused_with_those_that_do(size, message):
    model = UNet(2, padding="valid")
    with pytest.raises(UserError, match=message):
        model.check_size(size)
    with pytest.raises(UserError, match=message):
        shapes(model, (1, *size, 3))
    UNet(2).check_size(size)  # padded: any size
    assert UNet(2).context == 0


@pytest.mark.parametrize(
    ("padding", "upsampling"),
    [
        # bilinear and bicubic take the way of nearest
        *(("same", method) for method in ("transposed", "nearest", "max_unpool", "bed_of_nails")),
        *(("valid", method) for method in ("transposed", "max_unpool")),
    ],
)
def test_every_skip_carries_signal_and_gradient(
    padding, upsampling, random_variables, run_compiled
):
    """The first convolution after a concatenation reads the skip in its first input channels."""
    model = UNet(3, width=4, depth=2, padding=padding, upsampling=upsampling)
    images = pictures(1, model.fit(25), model.fit(27))  # odd ones where they go
    variables = random_variables(model, images)

    def loss(params):
        logits, _ = model.apply({**variables, "params": params}, images, train=False)
        return (logits**2).sum()

    gradient = run_compiled(jax.grad(loss), variables["params"])
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.abs(leaf).max() > 1e-4, jax.tree_util.keystr(path)
    for level in range(2):
        kernel = gradient[f"up{level}"]["conv1"]["kernel"]
        width = 4 << level
        assert kernel.shape[2] == 2 * width
        for half in (kernel[:, :, :width], kernel[:, :, width:]):
            assert (np.abs(half).max(axis=(0, 1, 3)) > 1e-4).all()  # every channel of either half


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("without", [(), (0,), (1,), (0, 1)])
def test_the_decoder_does_not_see_a_removed_skip(padding, without, random_variables, run_compiled):
    """By the gradient with respect to what the encoder hands to the decoder."""
    model = UNet(3, width=4, depth=2, padding=padding, without_skips=without)
    images = pictures(1, model.fit(20), model.fit(20))
    variables = random_variables(model, images)

    def gradient(variables, images):
        def loss(offsets):
            def interceptor(call, args, kwargs, context):
                result = call(*args, **kwargs)
                if not isinstance(context.module, Encoder):
                    return result
                out, indices = result
                return {name: x + offsets.get(name, 0) for name, x in out.items()}, indices

            with nn.intercept_methods(interceptor):
                logits, _ = model.apply(variables, images, train=False)
            return (logits**2).sum()

        return jax.grad(loss)({f"level{level}": jnp.float32(0) for level in range(3)})

    slopes = run_compiled(gradient, variables, images)
    assert {level for level in range(3) if slopes[f"level{level}"] == 0} == set(without)


def test_a_removed_skip_takes_its_weights_with_it_and_no_others():
    _, _, whole = shapes(UNet(3, width=4, depth=2), (1, 16, 16, 3))
    _, _, without = shapes(UNet(3, width=4, depth=2, without_skips=(0,)), (1, 16, 16, 3))
    assert whole["params"]["up0"]["conv1"]["kernel"].shape == (3, 3, 8, 4)
    assert without["params"]["up0"]["conv1"]["kernel"].shape == (3, 3, 4, 4)
    for variables in (whole, without):
        del variables["params"]["up0"]["conv1"]
    assert jax.tree.map(jnp.shape, whole) == jax.tree.map(jnp.shape, without)


def test_the_full_resolution_skip_alone_sees_a_9x9_window(model, evaluate, random_variables):
    """With the up-convolution silenced, four 3x3 convolutions at full resolution are left."""
    variables = random_variables(model, IMAGES)
    silent = jax.tree.map(np.zeros_like, variables["params"]["up0_conv"])
    local = {**variables, "params": {**variables["params"], "up0_conv": silent}}
    moved = IMAGES.at[0, 12, 10].add(1.0)

    def changed(variables):
        difference = evaluate(variables, moved)[0] - evaluate(variables, IMAGES)[0]
        rows, cols = np.nonzero(np.abs(difference[0]).max(axis=-1) > 1e-6)
        return rows.min(), rows.max(), cols.min(), cols.max()

    assert changed(local) == (8, 16, 6, 14)
    # The skip's channels come first: deaf to those that follow, the block sees the skip alone too.
    conv = variables["params"]["up0"]["conv1"]["kernel"].at[:, :, 4:].set(0)
    up0 = {**variables["params"]["up0"], "conv1": {"kernel": conv}}
    deaf = {**variables, "params": {**variables["params"], "up0": up0}}
    assert changed(deaf) == (8, 16, 6, 14)
    top, bottom, left, right = changed(variables)
    assert max(top - 8, left - 6) < 0 < min(bottom - 16, right - 14)


@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_valid_equals_same_away_from_the_border(upsampling, random_variables, run_compiled):
    """With one set of weights: no border is seen, and skips lie under what is upsampled."""
    same, valid = (
        UNet(3, width=2, depth=2, padding=p, upsampling=upsampling) for p in ("same", "valid")
    )
    # Unpadded, level l begins 4 - 2**(1 - l) of its own pixels after the image does. Both nets pool
    # the same pixels together at 2 more than a multiple of 2**depth.
    margin = 4 * (valid.context // 4 + 1) + 2
    inner = valid.fit(2 * valid.context + 8)
    images = pictures(1, inner + 2 * margin, inner + 2 * margin)
    variables = random_variables(same, images)

    def both(variables, images):
        part = images[:, margin : margin + inner, margin : margin + inner]
        return [m.apply(variables, x, train=False)[0] for m, x in ((same, images), (valid, part))]

    whole, part = run_compiled(both, variables, images)
    first = margin + valid.context
    inside = slice(first, first + part.shape[1])
    assert part.shape[1] == inner - 2 * valid.context
    np.testing.assert_allclose(part, whole[:, inside, inside], atol=1e-4)


@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_odd_sizes_and_bfloat16(upsampling):
    model = UNet(3, width=2, depth=3, upsampling=upsampling, dtype=jnp.bfloat16)
    logits, out, _ = shapes(model, (2, 13, 9, 3))
    assert (logits.shape, logits.dtype) == ((2, 13, 9, 3), jnp.float32)
    assert {leaf.dtype for leaf in out.values()} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
def test_corners_reach_the_upsampling(upsampling, corners, random_variables):
    model = UNet(3, width=2, depth=1, upsampling=upsampling, upsampling_corners=corners)
    images = pictures(1, 12, 10)
    variables = random_variables(model, images)
    # the convolution after the upsampling made the identity of its first channel
    kernel = jnp.zeros((3, 3, 4, 2)).at[1, 1, 0, 0].set(1.0)
    variables["params"]["up0_conv"] = {"kernel": kernel, "bias": jnp.zeros(2)}
    result: Any = model.apply(
        variables,
        images,
        train=False,
        capture_intermediates=lambda module, _: module.name == "up0_conv",
    )
    (_, out), state = result
    (large,) = state["intermediates"]["up0_conv"]["__call__"]
    expected = resize(out["level1"], (12, 10), corners, upsampling)
    np.testing.assert_allclose(large[..., 0], expected[..., 0], atol=1e-5)


def test_dropout_acts_at_its_level_in_training_alone(random_variables, run_compiled):
    """Rates are of the last levels: 0, 0.5, 0 from the top."""
    model = UNet(3, width=8, depth=2, dropout=(0.5, 0.0), batch_norm=False)
    variables = random_variables(model, IMAGES)

    @jax.jit
    def train(key):
        return model.apply(variables, IMAGES, train=True, rngs={"dropout": key})

    (logits, first), (other, second) = (train(jax.random.key(i)) for i in range(2))
    assert np.any(logits != other)
    np.testing.assert_array_equal(first["level0"], second["level0"])
    assert np.any(first["level1"] != second["level1"])
    # asks for no random key
    _, out = run_compiled(lambda v, x: model.apply(v, x, train=False), variables, IMAGES)
    kept = np.asarray(first["level1"]) != 0  # ReLU leaves zeros too
    np.testing.assert_allclose(first["level1"][kept], 2 * out["level1"][kept], atol=1e-4)
    positive = np.asarray(out["level1"]) > 0
    dropped = np.count_nonzero(~kept & positive) / np.count_nonzero(positive)
    assert math.isclose(dropped, 0.5, abs_tol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "symmetric"}, "padding is 'symmetric', expected 'same' or 'valid'"),
        ({"depth": 1, "dropout": (0.1, 0.1, 0.5)}, "3 rates, but a net of depth 1 has 2 levels"),
        ({"upsampling": "bilinaer"}, "no upsampling 'bilinaer' here: did you mean 'bilinear'"),
        ({"upsampling": "resize_conv"}, "no upsampling 'resize_conv' here"),
        ({"upsampling_corners": "round"}, "corners is 'round'"),
        (
            {"padding": "valid", "upsampling_corners": "aligned"},
            "'valid' has no upsampling_corners",
        ),
        ({"without_skips": (0, 4)}, "names level 4, but a net of depth 4 has skips at levels 0 to"),
        ({"without_skips": (1,), "upsampling": "max_unpool"}, "no skip can be removed"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        UNet(2, **options)
