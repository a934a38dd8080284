import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.fcn import FCN

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(1, 70, 65, 3)), jnp.float32)
SCORES = {32: ["fc7"], 16: ["fc7", "pool4"], 8: ["fc7", "pool4", "pool3"]}


def small(stride, **options):
    return FCN(3, stride=stride, width_multiplier=2 / 64, fc_width=4, **options)


def parameters(model, size=(32, 32)):
    """As shapes alone."""
    images = jnp.ones((1, *size, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return variables["params"]


def without_each(names):
    """All kept, each left out in turn, none kept: {name: 0 or 1 for each of these}."""
    masks = [dict.fromkeys(names, 1.0)]
    masks += [{**masks[0], name: 0.0} for name in names]
    masks += [dict.fromkeys(names, 0.0)]
    return {name: jnp.array([mask[name] for mask in masks]) for name in names}


@pytest.mark.parametrize("padding", ["paper", "same"])
@pytest.mark.parametrize(
    ("stride", "extra"),
    [
        (32, 0),
        (16, 512 * 21 + 21 + 4 * 4 * 21),  # score of pool4, one class-diagonal upsampling
        (8, 512 * 21 + 21 + 256 * 21 + 21 + 2 * 4 * 4 * 21),
    ],
)
def test_parameter_count_of_the_paper(stride, extra, padding):
    vgg = 14_714_688
    fc6, fc7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    expected = vgg + fc6 + fc7 + 4096 * 21 + 21 + extra
    params = parameters(FCN(21, stride=stride, padding=padding))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


def test_a_finer_net_has_the_coarser_ones_parameters():
    """Staged training: each starts from the one before, by name and shape."""
    coarse, middle, fine = (parameters(small(stride)) for stride in (32, 16, 8))
    assert set(middle) - set(coarse) == {"score_pool4", "up_to_pool4"}
    assert set(fine) - set(middle) == {"score_pool3", "up_to_pool3"}
    for one, next_ in ((coarse, middle), (middle, fine)):
        assert one == {name: next_[name] for name in one}


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_each_score_matters(stride, random_variables, run_compiled):
    model = small(stride)
    params = random_variables(model, IMAGES)["params"]
    names = [f"score_{name}" for name in SCORES[stride]]
    assert sorted(name for name in params if name.startswith("score_")) == sorted(names)

    def logits(kept):
        scores = {
            name: jax.tree.map(lambda x, name=name: x * kept[name], params[name]) for name in names
        }
        return model.apply({"params": {**params, **scores}}, IMAGES, train=False)[0]

    everything, *without, nothing = run_compiled(jax.vmap(logits), without_each(names))
    assert everything.shape == (1, 70, 65, 3)
    for name, less in zip(names, without, strict=True):
        assert np.abs(everything - less).max() > 1e-3, name
    np.testing.assert_array_equal(nothing, 0)


@pytest.mark.parametrize("padding", ["paper", "same"])
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_every_score_lands_where_it_was_taken(stride, padding, run_compiled):
    """Each score alone, of a ramp, is that ramp: no map is shifted by a fraction of a pixel.

    All convolutions pass their centre on. Pooling then takes the last pixel of each block of s,
    which is (s - 1) / 2 past its centre, on both axes; bilinear upsampling keeps a ramp.
    """
    model = FCN(
        1,
        stride=stride,
        padding=padding,
        learned_upsampling="none",
        width_multiplier=1 / 64,
        fc_width=1,
    )
    ramp = 1.0 + np.arange(160)[:, None] + 2 * np.arange(176)
    images = jnp.asarray(ramp, jnp.float32)[None, :, :, None]

    def passing(path, leaf):
        value = np.zeros(leaf.shape, np.float32)
        if path[-1].key == "kernel":
            value[leaf.shape[0] // 2, leaf.shape[1] // 2, 0, 0] = 1
        return jnp.asarray(value)

    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))["params"]
    params = jax.tree.map_with_path(passing, shapes)

    def logits(kept):
        scores = {
            name: jax.tree.map(lambda x, name=name: x * kept[name], params[name]) for name in kept
        }
        return model.apply({"params": {**params, **scores}}, images, train=False)[0]

    names = SCORES[stride]
    only = {f"score_{name}": jnp.eye(len(names))[i] for i, name in enumerate(names)}
    results = run_compiled(jax.vmap(logits), only)
    for name, result in zip(names, results, strict=True):
        block = {"fc7": 32, "pool4": 16, "pool3": 8}[name]
        inside = slice(40, 112)  # no block, interpolated once to thrice, reaches the border
        expected = ramp[inside, inside] + (1 + 2) * (block - 1) / 2
        np.testing.assert_allclose(result[0, inside, inside, 0], expected, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(1, 1), (31, 33), (70, 65), (500, 334)])
def test_paper_padding_takes_any_size(stride, size):
    """The smallest score map is 1x1; at 500 pixels it is 16, as in the released nets."""
    model, images = small(stride, padding="paper"), jnp.ones((1, *size, 3))
    (logits, out), _ = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), images, train=False)
    )
    assert logits.shape == (1, *size, 3)
    rows = {1: 1, 31: 2, 70: 3, 500: 16}
    assert out["score_fc7"].shape[1] == rows[size[0]]


def test_at_once_is_staged_with_scores_rescaled(random_variables, run_compiled):
    """A score of features times 0.01 with weights times 100 is the score."""
    staged, at_once = small(8), small(8, at_once=True)
    variables = random_variables(staged, IMAGES)
    params = dict(variables["params"])
    for name, scale in (("score_pool4", 1e2), ("score_pool3", 1e4)):
        params[name] = {**params[name], "kernel": params[name]["kernel"] * scale}

    def logits(model, params):
        return model.apply({"params": params}, IMAGES, train=False)[0]

    one, other, unscaled = run_compiled(
        lambda: [
            logits(staged, variables["params"]),
            logits(at_once, params),
            logits(at_once, variables["params"]),
        ]
    )
    assert np.abs(one - other).max() < 1e-5 * np.ptp(one)
    assert np.abs(one - unscaled).max() > 0.1 * np.ptp(one)


def test_score_layers_start_at_zero_and_upsampling_bilinear(run_compiled):
    model = FCN(2, width_multiplier=1 / 64, fc_width=1, learned_upsampling="all")
    image = jnp.ones((1, 8, 8, 3))
    params = run_compiled(lambda: model.init(jax.random.key(0), image, train=False))["params"]
    for name in ("score_fc7", "score_pool4", "score_pool3"):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(params[name]))
    for name, factor in (("up_to_pool4", 2), ("up_to_pool3", 2), ("up_final", 8)):
        line = (np.arange(factor) + 0.5) / factor  # rising, then falling
        line = np.concatenate([line, line[::-1]])
        for plane in np.moveaxis(params[name]["kernel"], -1, 0):
            np.testing.assert_allclose(plane, np.outer(line, line))


@pytest.mark.parametrize(
    ("learned", "names"),
    [
        ("none", set()),
        ("skips", {"up_to_pool4", "up_to_pool3"}),  # the last one is fixed, as in the paper
        ("all", {"up_to_pool4", "up_to_pool3", "up_final"}),
    ],
)
def test_which_upsampling_is_learned(learned, names):
    params = parameters(small(8, learned_upsampling=learned))
    assert {name for name in params if name.startswith("up")} == names


def test_constant_scores_add_up_inside(random_variables, run_compiled):
    """Scores of 1, 10 and 100 everywhere fuse to 111 wherever no zero beyond the border reaches."""
    model = FCN(1, width_multiplier=1 / 64, fc_width=1, learned_upsampling="none")
    images = jnp.zeros((1, 160, 160, 3))
    params = jax.tree.map(np.zeros_like, random_variables(model, images)["params"])
    for name, value in (("fc7", 1.0), ("pool4", 10.0), ("pool3", 100.0)):
        params[f"score_{name}"]["bias"] = np.array([value], np.float32)
    logits, _ = run_compiled(
        lambda params: model.apply({"params": params}, images, train=False), params
    )
    np.testing.assert_allclose(logits[0, 32:-32, 32:-32], 111, rtol=1e-6)
    assert logits[0, 0, 0, 0] < 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 4}, "stride is 4, expected 32, 16 or 8"),
        ({"padding": "symmetric"}, "padding is 'symmetric', expected paper or same"),
        ({"learned_upsampling": "some"}, "'some', expected one of none, skips, all"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        FCN(2, **options)
