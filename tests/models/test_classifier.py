from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import defaults, models
from jaxseg.config import check_config
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
from jaxseg.models.classifier import Classifier
from jaxseg.program import build_program


def pictures(h, w):
    return jnp.asarray(np.random.default_rng(0).normal(size=(1, h, w, 3)), jnp.float32)


def logits(model, variables, images):
    return model.apply(variables, images, train=False)[0]


@pytest.mark.parametrize(
    ("options", "params", "statistics"),
    [
        # torchvision's
        ({"backbone": "vgg16"}, 138_357_544, 0),
        ({"backbone": "resnet18"}, 11_689_512, 9_600),
        ({"backbone": "resnet34"}, 21_797_672, 17_024),
        ({"backbone": "resnet50"}, 25_557_032, 53_120),
        ({"backbone": "resnet101"}, 44_549_160, 105_344),
        ({"backbone": "mobilenet_v2"}, 3_504_872, 34_112),
        ({"backbone": "mobilenet_v2", "width_multiplier": 0.35}, 1_677_128, None),
        ({"backbone": "mobilenet_v2", "width_multiplier": 0.75}, 2_636_424, None),
        ({"backbone": "mobilenet_v2", "width_multiplier": 1.4}, 6_108_776, None),
        # Keras's count of all is 22,910,480
        ({"backbone": "xception"}, 22_855_952, 54_528),
        # timm's
        ({"backbone": "xception65"}, 39_916_312, 185_200),
        ({"backbone": "efficientnet_lite0"}, 4_652_008, 42_016),
    ],
)
def test_parameter_counts(options, params, statistics):
    model = Classifier(1000, **options)
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.ones((1, 224, 224, 3)), train=False)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == params
    if statistics is not None:
        found = sum(leaf.size for leaf in jax.tree.leaves(variables.get("batch_stats", {})))
        assert found == statistics


def test_vgg_on_224_pixels_is_the_classifier(random_variables, run_compiled):
    """One value, that of fully connected layers on the flattened features."""
    model, images = narrow_vgg(), pictures(224, 224)
    variables = random_variables(model, images)
    found, out = run_compiled(lambda v: model.apply(v, images, train=False), variables)
    x = np.asarray(out["pool5"]).reshape(1, -1)
    for name in ("fc6", "fc7", "logits"):
        kernel, bias = (np.asarray(variables["params"][name][key]) for key in ("kernel", "bias"))
        x = x @ kernel.reshape(x.shape[1], -1) + bias
        x = x if name == "logits" else np.maximum(x, 0)
    assert found.shape == (1, 1, 1, 5)
    np.testing.assert_allclose(found[:, 0, 0], x, rtol=1e-4, atol=1e-4)


def test_the_map_is_the_classifier_on_every_patch(random_variables, run_compiled):
    """Each value is that of the classifier on the 224 pixels there, which sees past their border.

    A value depends on 404 pixels (features of 212, seven of them 32 apart). The classifier on a
    224x224 patch alone has zeros for the 90 pixels around it; on 416x416, the patch with 96 around
    it, its middle value is that of the patch in the image.
    """
    model, images = narrow_vgg(), pictures(512, 480)
    variables = random_variables(model, images)
    dense = run_compiled(partial(logits, model), variables, images)
    assert dense.shape == (1, 10, 9, 5)
    on_patch = jax.jit(partial(logits, model))
    for i, j in ((0, 0), (3, 1), (2, 2)):
        patch = images[:, 32 * i : 32 * i + 416, 32 * j : 32 * j + 416]
        middle = on_patch(variables, patch)[:, 3, 3]
        np.testing.assert_allclose(dense[:, i + 3, j + 3], middle, rtol=1e-4, atol=1e-4)


def test_fc6_can_be_padded(random_variables, run_compiled):
    """As large as the features, and equal where its window lies inside."""
    images = pictures(256, 288)
    padded, valid = narrow_vgg(fc_padding="symmetric"), narrow_vgg()
    variables = random_variables(valid, images)
    found, inside = run_compiled(
        lambda v: (logits(padded, v, images), logits(valid, v, images)), variables
    )
    assert (found.shape, inside.shape) == ((1, 8, 9, 5), (1, 2, 3, 5))
    np.testing.assert_allclose(found[:, 3:-3, 3:-3], inside, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_the_mean_of_the_map_is_the_classifier_on_pooled_features(
    backbone, random_variables, run_compiled
):
    model, images = Classifier(5, backbone, width_multiplier=0.1), pictures(70, 97)
    variables = random_variables(model, images)
    found, out = run_compiled(lambda v: model.apply(v, images, train=False), variables)
    assert found.shape == (1, 3, 4, 5)
    last = out["head" if backbone == "mobilenet_v2" else "stage4"]
    assert last.shape[-1] == (1280 if backbone == "mobilenet_v2" else 48)
    params = variables["params"]["logits"]
    pooled = np.asarray(last).mean(axis=(1, 2))
    expected = pooled @ np.asarray(params["kernel"])[0, 0] + np.asarray(params["bias"])
    np.testing.assert_allclose(found.mean(axis=(1, 2)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
def test_dropout_acts_in_training_only(backbone, random_variables, run_compiled):
    options: dict[str, Any] = {"width_multiplier": 0.1, "fc_width": 8, "fc_padding": "symmetric"}
    model, images = Classifier(3, backbone, dropout=0.5, **options), pictures(32, 32)
    variables = random_variables(model, images)

    def run(key, train):
        rngs, mutable = {"dropout": key}, ["batch_stats"]
        return model.apply(variables, images, train=train, rngs=rngs, mutable=mutable)[0][0]

    keys = jax.random.split(jax.random.key(0), 2)
    first, second = run_compiled(jax.vmap(lambda key: run(key, train=True)), keys)
    assert np.any(first != second)
    jax.eval_shape(lambda: logits(model, variables, images))  # asks for no random key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg"}, "no backbone 'vgg': did you mean 'vgg16'"),
        ({"output_stride": 7}, "output_stride is 7"),
        ({"rounding": "floor"}, "rounding is 'floor', but resnet50 has no such option"),
        ({"fc_padding": "same"}, "fc_padding is 'same', expected valid or symmetric"),
        ({"corners": "round"}, "corners is 'round'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        models.build("classifier", 3, dtype=jnp.float32, **options)


def test_logits_of_patches_are_not_spread_over_the_image(tiny_config):
    """Logit i of the unpadded fc6 stands for pixel 32 i + 111.5: not a segmentation."""
    classes = Classes(("a", "b"), ((0, 0, 0), (255, 0, 0)))
    argument = "classifier,backbone=vgg16,width_multiplier=0.05,fc_width=6"
    tiny_config.model = defaults.model_config(argument)
    with pytest.raises(UserError, match=r"fc_padding is 'valid'.*use fc_padding=symmetric"):
        build_program(check_config(tiny_config), classes, announce=print)
    tiny_config.model = defaults.model_config(f"{argument},fc_padding=symmetric")
    build_program(check_config(tiny_config), classes, announce=print)
    for backbone in ("resnet18", "mobilenet_v2"):  # the option is vgg16's alone
        assert Classifier(2, backbone).labels_pixels


def test_images_too_small_for_fc6():
    model = narrow_vgg()
    with pytest.raises(UserError, match="features are 4x7, expected at least 7x7"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), pictures(128, 224), train=False))


def narrow_vgg(**options):
    return Classifier(5, "vgg16", width_multiplier=0.05, fc_width=6, **options)
