"""timm's config.json tells what names and shapes do not."""

import pytest

from jaxseg.weights.families import recognise, timm
from tests.weights import stored


def recognised(name):
    """The fixture's entries without a config.json."""
    return recognise(stored.entries(name), "a file", {})


def test_the_config_tells_tensorflow_s_network_and_the_normalisation():
    imported = recognised("timm_tf_efficientnet_lite0")
    assert imported.options["padding"] == "symmetric"
    assert imported.assumed == {"padding", "norm_epsilon", "mean", "std"}
    assert "tf_efficientnet_lite0" in imported.family
    config = {
        "architecture": "tf_efficientnet_lite0",
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0]},
    }
    configured = timm.configured(imported, config)
    assert configured.options["padding"] == "tf_same"
    assert configured.options["norm_epsilon"] == 1e-3
    assert configured.mean == (127.5, 127.5, 127.5)
    assert configured.std == (63.75, 127.5, 255.0)
    assert configured.assumed == frozenset()
    own = timm.configured(imported, {"architecture": "efficientnet_lite0"})
    assert own.options == imported.options
    assert own.assumed == {"mean", "std"}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architecture": "vgg16", "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"architecture": "mobilenetv2_100", "pretrained_cfg": None},
        {"model": {"name": "unet"}},
    ],
)
def test_a_config_of_anything_else_changes_nothing(config):
    """A local folder may hold anything."""
    imported = recognised("timm_mobilenetv2_100")
    assert timm.configured(imported, config) == imported


def test_a_config_changes_only_what_is_assumed():
    imported = recognised("keras_mobilenet_v2")
    config = {
        "architecture": "mobilenetv2_100",
        "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]},
    }
    assert timm.configured(imported, config) == imported
