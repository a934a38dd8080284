import pkgutil
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import pytest

from jaxseg import models, zoo
from jaxseg.cli import main
from jaxseg.ops.layers import bind
from jaxseg.zoo import Cost, Entry

ROOT = Path(__file__).parents[1]
DEEPLAB = {"output_stride": 8, "head_conv": True, "aux_head": True}


@pytest.mark.parametrize(
    ("model", "options", "parameters", "giga"),
    [  # torchvision's table of its weights: parameters, and what it calls GFLOPs, at 520x520
        ("fcn_resnet", {"backbone": "resnet50"}, 35_322_218, 152.717),
        ("fcn_resnet", {"backbone": "resnet101"}, 54_314_346, 232.738),
        ("deeplabv3", {"backbone": "resnet50", **DEEPLAB}, 42_004_074, 178.722),
        ("deeplabv3", {"backbone": "resnet101", **DEEPLAB}, 60_996_202, 258.743),
    ],
)
def test_segmentation_costs_are_torchvisions(model, options, parameters, giga):
    found = zoo.cost(zoo.build(Entry(model, options, "")), 520, 520)
    assert found.parameters == parameters
    assert found.multiply_adds / 1e9 == pytest.approx(giga, abs=5e-4)


@pytest.mark.parametrize(
    ("backbone", "features", "parameters", "giga"),
    [  # torchvision's table again, at 224x224
        ("resnet18", 512, 11_689_512, 1.814),
        ("resnet50", 2048, 25_557_032, 4.089),
        ("mobilenet_v2", 1280, 3_504_872, 0.301),
        ("vgg16", None, 138_357_544, 15.470),
    ],
)
def test_classifier_costs_are_torchvisions(backbone, features, parameters, giga):
    found = zoo.cost(zoo.build(Entry("classifier", {"backbone": backbone}, "")), 224, 224)
    # ours classifies each of the 7x7 features, torchvision their mean
    dense = 48 * 1000 * features if features else 0
    assert found.parameters == parameters
    assert (found.multiply_adds - dense) / 1e9 == pytest.approx(giga, abs=5e-4)


def test_separable_against_ordinary_by_hand():
    """12x12x3 to 8x8x256 with 5x5 kernels: 4,800 + 49,152 against 1,228,800 * 1 multiplications."""

    class Net(nn.Module):
        separable: bool

        @nn.compact
        def __call__(self, images, *, train):
            layers = bind(train=train, dtype=jnp.float32, padding="valid")
            if not self.separable:
                return layers.conv(256, kernel_size=5)(images)
            return layers.conv(256, kernel_size=1)(layers.depthwise(kernel_size=5)(images))

    assert zoo.cost(Net(separable=False), 12, 12) == Cost(19_200, 1_228_800)
    assert zoo.cost(Net(separable=False), 12, 12, channels=1) == Cost(6_400, 409_600)
    assert zoo.cost(Net(separable=True), 12, 12) == Cost(843, 53_952)


def test_a_transposed_convolution_is_counted_at_its_input():
    found = zoo.cost(zoo.build(Entry("fcn", {"stride": 16}, "")), 64, 64)
    coarser = zoo.cost(zoo.build(Entry("fcn", {"stride": 32}, "")), 64, 64)
    score_pool4, upsampling = 4 * 4 * 512 * 21, 2 * 2 * 4 * 4 * 21  # on 4x4, from 2x2
    assert found.multiply_adds - coarser.multiply_adds == score_pool4 + upsampling


def test_every_model_is_in_the_zoo_and_every_source_has_its_proof():
    files = [module.name for module in pkgutil.iter_modules(models.__path__)]
    sources = {name: (ROOT / f"jaxseg/models/{name}.py").read_text() for name in files}
    known = {name for name, source in sources.items() if "\nModel = " in source}
    assert {entry.model for entry in zoo.ZOO} == known
    fixtures = {path.stem for path in (ROOT / "tests/weights/fixtures").glob("*.npz")}
    graphs = {
        "slim_mobilenet_v2",
        "slim_deeplabv3_mobilenet_v2",
    }  # of tests/weights/families/test_slim.py
    assert {name for entry in zoo.ZOO for name in entry.weights} == fixtures | graphs


def test_the_readme_holds_the_table(capsys):
    assert main(["models", "--markdown"]) == 0
    assert capsys.readouterr().out in (ROOT / "README.md").read_text()


def test_the_table_for_reading(capsys, monkeypatch):
    few = [entry for entry in zoo.ZOO if entry.model in ("fcn_resnet", "unet")]
    monkeypatch.setattr(zoo, "entries", lambda: few)
    assert main(["models", "--size", "224"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(few)
    column = heading.index("config argument")
    assert lines[0][column:].split() == ["fcn_resnet,backbone=resnet50", "torchvision_fcn_resnet50"]
    assert "12.4 at 236" in lines[2]  # the valid U-Net takes no 224


@pytest.mark.parametrize("size", ["20", "big", "-64"])
def test_a_wrong_size(size, capsys):
    assert main(["models", f"--size={size}"]) == 2
    assert f"--size is '{size}', expected a number of pixels" in capsys.readouterr().err
