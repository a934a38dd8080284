import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models.fcn import FCN

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(1, 70, 65, 3)), jnp.float32)
SCORES = {32: ["fc7"], 16: ["fc7", "pool4"], 8: ["fc7", "pool4", "pool3"]}


def small(stride):
    return FCN(3, stride=stride, width=2, fc_width=4)


@pytest.mark.parametrize(
    ("stride", "extra"),
    [
        (32, 0),
        (16, 512 * 21 + 21 + 4 * 4 * 21),  # score of pool4, one class-diagonal upsampling
        (8, 512 * 21 + 21 + 256 * 21 + 21 + 2 * 4 * 4 * 21),
    ],
)
def test_parameter_count_of_the_paper(stride, extra):
    variables = jax.eval_shape(
        lambda: FCN(21, stride=stride).init(
            jax.random.key(0), jnp.ones((1, 32, 32, 3)), train=False
        )
    )
    vgg = 14_714_688
    fc6, fc7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096
    expected = vgg + fc6 + fc7 + 4096 * 21 + 21 + extra
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == expected


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_each_score_matters(stride, random_variables, run_compiled):
    model = small(stride)
    variables = random_variables(model, IMAGES)
    params = variables["params"]
    names = [f"score_{name}" for name in SCORES[stride]]
    assert sorted(name for name in params if name.startswith("score_")) == sorted(names)

    def logits(kept):
        scores = {
            name: jax.tree.map(lambda x, name=name: x * kept[name], params[name]) for name in names
        }
        return model.apply({"params": {**params, **scores}}, IMAGES, train=False)[0]

    # all of them, each left out in turn, none: one compiled batch
    masks = [dict.fromkeys(names, 1.0)]
    masks += [{**masks[0], name: 0.0} for name in names]
    masks += [dict.fromkeys(names, 0.0)]
    stacked = {name: jnp.array([mask[name] for mask in masks]) for name in names}
    everything, *without, nothing = run_compiled(jax.vmap(logits), stacked)
    assert everything.shape == (1, 70, 65, 3)
    for name, less in zip(names, without, strict=True):
        assert np.abs(everything - less).max() > 1e-3, name
    np.testing.assert_array_equal(nothing, 0)


def test_score_layers_start_at_zero_and_upsampling_bilinear(run_compiled):
    model = FCN(2, stride=8, width=1, fc_width=1)
    image = jnp.ones((1, 8, 8, 3))
    params = run_compiled(lambda: model.init(jax.random.key(0), image, train=False))["params"]
    for name in ("score_fc7", "score_pool4", "score_pool3"):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(params[name]))
    line = np.array([0.25, 0.75, 0.75, 0.25])
    for name in ("up_to_pool4", "up_to_pool3"):
        for plane in np.moveaxis(params[name]["kernel"], -1, 0):
            np.testing.assert_allclose(plane, np.outer(line, line))
    assert "up_final" not in params  # fixed, as in the paper


def test_constant_scores_add_up_inside(random_variables, run_compiled):
    """Scores of 1, 10 and 100 everywhere fuse to 111 wherever no zero beyond the border reaches."""
    model = FCN(1, stride=8, width=1, fc_width=1)
    images = jnp.zeros((1, 160, 160, 3))
    params = jax.tree.map(np.zeros_like, random_variables(model, images)["params"])
    for name, value in (("fc7", 1.0), ("pool4", 10.0), ("pool3", 100.0)):
        params[f"score_{name}"]["bias"] = np.array([value], np.float32)
    line = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    for name in ("up_to_pool4", "up_to_pool3"):
        params[name]["kernel"] = np.outer(line, line)[..., None]
    logits, _ = run_compiled(
        lambda params: model.apply({"params": params}, images, train=False), params
    )
    np.testing.assert_allclose(logits[0, 32:-32, 32:-32], 111, rtol=1e-6)
    assert logits[0, 0, 0, 0] < 100
