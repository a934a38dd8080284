"""Imported weights give the numbers of the programs that they are from.

fixtures/NAME.npz holds outputs of the reference NAME (see fixtures/README.md). The random weights
and images that it was run with are drawn again, imported, and run here, in float32 on the CPU.
Logits in evaluation mode may differ by 1e-4 of their range; after one pass in training mode,
running means by 1e-4 of the layer's largest running standard deviation, and running variances by
1e-4 of its largest running variance. The largest differences measured are 1.8e-6 for logits and
2.7e-5 for statistics.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from jaxseg.ops.resize import resize
from jaxseg.weights import families
from jaxseg.weights.imported import Imported
from tests.weights import stored, values

TOLERANCE = 1e-4

# timm's own EfficientNet-Lite0 and TensorFlow's have the same entries; its config.json tells.
HUB_CONFIGS = {
    "timm_tf_efficientnet_lite0": {
        "architecture": "tf_efficientnet_lite0",
        "pretrained_cfg": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    }
}
# The same entries as torchvision's, and the same outputs: see the test below.
SAME = [f"resnet{depth}" for depth in (18, 34, 50, 101)]
SLOW = {
    *("torchvision_resnet34", "torchvision_resnet101"),
    *("torchvision_fcn_resnet101", "torchvision_deeplabv3_resnet101"),
    *("torchvision_vgg16", "timm_vgg16", "timm_mobilenetv2_100", "timm_efficientnet_lite0"),
    *("smp_unet_resnet18", "smp_unet_resnet50"),
    *("smp_deeplabv3plus_resnet18", "smp_deeplabv3plus_resnet34"),
}
NAMES = sorted({*stored.NAMES} - {f"timm_{name}" for name in SAME})


@dataclasses.dataclass
class Case:
    """A reference's outputs, and our model with its weights."""

    about: dict[str, Any]
    outputs: Any  # the reference's, by name
    entries: dict[str, np.ndarray]
    imported: Imported
    model: Any
    variables: Any

    def images(self, kind: str):
        size = self.about["sizes"][("even", "odd").index(kind)]
        return jnp.asarray(values.images(tuple(size), self.about["batch"]))


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NAMES],
)
def case(request, network):
    name = request.param
    entries = {entry: values.entry(entry, shape) for entry, shape in stored.shapes(name).items()}
    imported = families.recognise(entries, name, HUB_CONFIGS.get(name, {}))
    outputs = np.load(stored.FIXTURES / f"{name}.npz")
    return Case(stored.about(name), outputs, entries, imported, *network(imported))


@pytest.mark.parametrize("kind", ["even", "odd"])
def test_logits_are_the_reference_s(case, kind, run_compiled):
    images = case.images(kind)
    logits, out = run_compiled(
        lambda variables, images: case.model.apply(variables, images, train=False),
        case.variables,
        images,
    )
    ours = {"logits": logits, "aux_logits": out.get("aux_logits")}
    if case.imported.model == "classifier":
        ours["logits"] = logits.mean((1, 2))
    else:
        ours["full"] = resize(logits, images.shape[1:3], case.model.corners)
    names = [x for x in ("logits", "aux_logits", "full") if f"{kind}/{x}" in case.outputs]
    assert "logits" in names
    for name in names:
        theirs, spread = (case.outputs[key] for key in (f"{kind}/{name}", f"{kind}/{name}/range"))
        sample = values.sample(ours[name], 200 if name == "full" else 1000)
        assert np.abs(sample - theirs).max() <= TOLERANCE * spread, name


def test_batch_statistics_after_one_training_pass_are_the_reference_s(case, run_compiled):
    if not case.about["statistics"]:  # VGG
        assert case.variables.keys() == {"params"}
        return
    # an auxiliary head keeps its dropout, which comes after its batch norm
    mode = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}}
    _, after = run_compiled(
        lambda variables, images: case.model.apply(variables, images, **mode),
        case.variables,
        case.images("even"),
    )
    ours = {k: np.asarray(v) for k, v in traverse_util.flatten_dict(after, sep="/").items()}
    paths = {name: path for path, name in case.imported.source_names.items()}
    assert {paths[name] for name in case.about["statistics"]} == ours.keys()
    for name, theirs in zip(
        case.about["statistics"], case.outputs["after"].reshape(-1, 6), strict=True
    ):
        statistic = ours[paths[name]]
        scale = ours[paths[name].rpartition("/")[0] + "/var"].max()
        if paths[name].endswith("/mean"):
            scale = np.sqrt(scale)
            statistic = statistic + _bias_before(name, case.entries)
        assert np.abs(values.digest(statistic) - theirs).max() <= TOLERANCE * scale, name


def _bias_before(name: str, entries: dict[str, np.ndarray]) -> np.ndarray | float:
    """Keras's ResNet has biases before batch norms, ours has none and lower means."""
    layer = name.rpartition("/")[0]
    return entries.get(layer.replace("_bn", "_conv") + "/bias", 0.0)


def test_images_are_normalised_as_for_the_reference(case):
    assert case.imported.mean == pytest.approx(case.about["mean"])
    assert case.imported.std == pytest.approx(case.about["std"])


@pytest.mark.parametrize("name", SAME)
def test_timm_s_resnets_are_torchvision_s(name):
    timm, torchvision = (
        np.load(stored.FIXTURES / f"{x}_{name}.npz") for x in ("timm", "torchvision")
    )
    assert timm.files == torchvision.files
    for key in timm.files:
        np.testing.assert_allclose(timm[key], torchvision[key], rtol=1e-6)
