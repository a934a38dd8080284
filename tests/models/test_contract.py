"""Models keep their contract, and one that does not is refused with one line."""

import importlib
import pkgutil
import re
import sys
import textwrap
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import configs
from jaxseg import models, state
from jaxseg.cli import main
from jaxseg.config import check_config
from jaxseg.errors import UserError
from jaxseg.models import contract, encoders
from jaxseg.models.contract import (
    CoversImage,
    corner_mismatch,
    evaluation_mismatch,
    stride_mismatch,
)
from jaxseg.models.deeplabv3 import DeepLabV3
from jaxseg.ops.conv import conv
from jaxseg.ops.layers import bind_model
from jaxseg.ops.resize import resize

# README's, "Add your own: a model"
EXAMPLE = '''
"""Two convolutions, mine."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.models.contract import CoversImage
from jaxseg.ops.layers import bind_model
from jaxseg.ops.norm import GLOBAL, Statistics


class Model(CoversImage, nn.Module):
    num_classes: int
    width: int = 16  # an option: --config FILE:mine,width=32
    dtype: Any = jnp.float32
    statistics: Statistics = GLOBAL
    remat: bool = False

    @nn.compact
    def __call__(self, images, *, train: bool):
        layers = bind_model(self, train=train)  # conv, depthwise, norm with the fields' settings
        x = layers.conv(self.width, stride=2, name="conv")(images)
        x = nn.relu(layers.norm(name="norm")(x))
        logits = layers.conv(self.num_classes, kernel_size=1, use_bias=True, name="logits")(x)
        return logits.astype(jnp.float32), {"features": x}
'''


@pytest.fixture
def write_model(tmp_path, monkeypatch):
    """Puts a file beside those of jaxseg/models, for the time of a test."""

    def write(text, name="mine"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
        importlib.invalidate_caches()
        return name

    yield write
    sys.modules.pop("jaxseg.models.mine", None)


def fresh(model, size=(16, 24)):
    """Shapes of the state, as the trace at the start of a run makes them."""
    tx = optax.sgd(0.1)
    return jax.eval_shape(lambda: state.create(model, tx, seed=0, image_size=size, ema=False))


@pytest.mark.parametrize("name", models.names())
def test_our_models_keep_it(name):
    model = models.build(name, 3, dtype=jnp.float32)
    narrow = {"width_multiplier": 0.05, "width": 2, "fc_width": 2, "fc_padding": "symmetric"}
    narrow = {k: v for k, v in narrow.items() if k in models.options(name)}
    assert fresh(model.clone(**narrow)).params
    assert model.fit(64) == 64


def test_a_model_of_one_file_trains(write_model, tiny_config, one_device):
    """The example of the README: found by its name, with its option."""
    from jaxseg import defaults
    from jaxseg.data.source import Classes
    from jaxseg.program import build_program

    tiny_config.model = defaults.model_config(f"{write_model(EXAMPLE)},width=4")
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    program = build_program(check_config(tiny_config), classes, announce=lambda _: None)
    assert program.model.clone().width == 4
    first = program.init_state()
    batch = {
        "image": np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8),
        "label": np.random.default_rng(1).integers(0, 3, (8, 32, 32)).astype(np.int32),
    }
    after, numbers = program.train_step(first, program.parallel.place(batch))
    assert numbers["loss"] > 0
    assert np.any(after.batch_stats["norm"]["mean"] != first.batch_stats["norm"]["mean"])


def test_the_table_of_models_holds_it(write_model, monkeypatch, capsys):
    from jaxseg import zoo

    write_model(EXAMPLE)
    mine = zoo.entries()[len(zoo.ZOO) :]
    assert [entry.argument for entry in mine] == ["mine"]
    monkeypatch.setattr(zoo, "entries", lambda: mine)
    assert main(["models", "--size=224"]) == 0
    parameters = 3 * 3 * 3 * 16 + 2 * 16 + 16 * 21 + 21
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == [
        f"{parameters / 1e6:.2f}",
        "0.0",
        "Two",
        "convolutions,",
        "mine.",
        "mine",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    remat: bool = False\n", "", "model mine has no field 'remat', expected"),
        ("(CoversImage, nn.Module)", "(nn.Module)", "model mine has no 'corners': begin it with"),
        ("class Model(CoversImage, nn.Module)", "class Model", "expected a flax.linen module"),
        (", *, train: bool", "", "called as model.images, train=.*unexpected keyword|called as"),
        ("    width:", "    corners: str = 'round'\n    width:", "mine: corners is 'round', exp"),
        ("    width:", "    context = 'none'\n    width:", "mine: context is 'none', expected int"),
    ],
)
def test_a_class_that_breaks_it_is_refused_when_it_is_built(write_model, old, new, message):
    assert old in EXAMPLE
    write_model(EXAMPLE.replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        models.build("mine", 3, dtype=jnp.float32)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "return logits.astype(jnp.float32), {",
            "return logits, {",
            r"logits are bfloat16\[1, 8, 12",
        ),
        (', {"features": x}', "", "returned .*expected .logits, dict of endpoints"),
        ("conv(self.num_classes,", "conv(7,", r"float32\[1, 8, 12, 7\], expected float32\[1, he"),
        ('"features": x', '"aux_logits": x', "aux_logits are bfloat16"),
        ("    width:", "    context = 1\n    width:", r"logits are \(8, 12\), expected \(14, 22\)"),
        ("nn.relu(layers", "self.variable('seen', 'x', jnp.zeros, ()).value + (layers", "'seen'"),
        (
            'layers.norm(name="norm")',
            "nn.BatchNorm(use_running_average=not train, name='mine')",
            "^mine is flax's BatchNorm.*use `layers = bind_model.self, train=train.`",
        ),
    ],
)
def test_a_model_that_computes_something_else_is_refused_when_it_is_traced(
    write_model, old, new, message
):
    assert old in EXAMPLE
    write_model(EXAMPLE.replace(old, new))
    model = models.build("mine", 3, dtype=jnp.bfloat16)
    with pytest.raises(UserError, match=message) as error:
        fresh(model)
    assert "\n" not in str(error.value)


CONFIGS = [module.name for module in pkgutil.iter_modules(configs.__path__)]
ARGUMENTS = [None, "unet", "unet_resnet", "classifier", "deeplabv3plus", "fcn", "fcn_resnet",
             "deeplabv3,backbone=mobilenet_v2"]  # fmt: skip


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_and_corners_of_every_config_go_together(name, argument):
    module = importlib.import_module(f"configs.{name}")
    config = module.get_config(argument) if argument else module.get_config()
    options = config.model.to_dict()
    model = models.build(options.pop("name"), 3, dtype=jnp.float32, **options)
    assert corner_mismatch(model, tuple(config.augment.crop_size)) is None
    sizes = tuple(config.eval.canvas), config.eval.size_multiple
    assert evaluation_mismatch(model, *sizes) is None


@pytest.mark.parametrize(
    ("corners", "size", "message"),
    [
        ("half_pixel", (513, 513), r"drift by 15 pixels .*use \(512, 512\), or aligned corners$"),
        ("aligned", (512, 512), r"sides of 16 k \+ 1.*use \(513, 513\), or half_pixel corners$"),
        ("half_pixel", (360, 480), r"drift by 8 pixels .*use \(352, 480\)$"),
        ("half_pixel", (352, 480), None),
        ("aligned", (513, 321), None),
    ],
)
def test_a_mismatch_is_told_with_its_cure(corners, size, message):
    found = corner_mismatch(DeepLabV3(2, corners=corners), size)
    assert found is None if message is None else re.search(message, found or "")


def test_a_mismatch_of_evaluation():
    aligned, half = DeepLabV3(2, corners="aligned"), DeepLabV3(2)
    assert evaluation_mismatch(aligned, (513, 513), 32) is None
    assert evaluation_mismatch(aligned, (1, 1), 32) is None
    assert evaluation_mismatch(half, (0, 0), 32) is None
    assert "canvas of (1, 1) and size_multiple 32" in (
        evaluation_mismatch(aligned, (0, 0), 32) or ""
    )
    assert "canvas of (0, 0) and size_multiple 16" in (evaluation_mismatch(half, (0, 0), 8) or "")


def test_another_output_stride_moves_features():
    aligned, half = DeepLabV3(2, corners="aligned"), DeepLabV3(2)
    assert "16 in training: with half_pixel corners features now lie 4 pixels off" in (
        stride_mismatch(half, 16, 8) or ""
    )
    assert "12 pixels off" in (stride_mismatch(half, 32, 8) or "")
    assert stride_mismatch(half, 16, 16) is None
    assert stride_mismatch(aligned, 16, 8) is None


@pytest.mark.parametrize(
    ("corners", "size", "padding", "moved"),
    [
        ("half_pixel", 32, "symmetric", 0.5),
        ("half_pixel", 32, "tf_same", -0.5),
        ("aligned", 33, "symmetric", 0),
        ("aligned", 33, "tf_same", 0),
    ],
)
def test_features_move_by_half_a_pixel_where_a_stride_is_left_out(corners, size, padding, moved):
    """Row 12 of a ramp: the mean of what is seen there, with a stride of 2 and without."""
    ramp = jnp.broadcast_to(jnp.arange(size, dtype=jnp.float32)[:, None], (size, size))
    kernel = jnp.full((3, 3, 1, 1), 1 / 9)

    def seen(stride):
        return conv(ramp[None, ..., None], kernel, stride, 1, padding)

    strided = resize(seen(2), (size, size), corners)[0, 12, 16, 0]
    assert seen(1)[0, 12, 16, 0] - strided == pytest.approx(moved, abs=1e-5)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    ("corners", "width", "constant", "drift"),
    [("aligned", 129, 0, 0), ("half_pixel", 128, 7.5, 0), ("half_pixel", 129, None, 11.2)],
)
def test_features_come_back_to_their_pixels(corners, width, constant, drift, run_compiled):
    """Every kernel takes its central pixel, so that logits are a ramp sampled at stride 16."""
    model = DeepLabV3(
        2, "mobilenet_v2", context_module="none", norm_epsilon=1e-5, corners=corners, dropout=0.0
    )
    ramp = np.broadcast_to(np.arange(width, dtype=np.float32) / width, (1, 33, width))
    images = jnp.asarray(np.stack([ramp] * 3, axis=-1))

    def central(path, leaf):
        name = path[-1].key
        if name != "kernel":
            return np.full(leaf.shape, name in ("scale", "var"), np.float32)
        kernel = np.zeros(leaf.shape, np.float32)
        kernel[(leaf.shape[0] - 1) // 2, (leaf.shape[1] - 1) // 2, 0, 0] = 1
        return kernel

    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    variables = jax.tree.map_with_path(central, shapes)
    logits, _ = run_compiled(lambda v, x: model.apply(v, x, train=False), variables, images)
    back = np.asarray(resize(logits, (33, width), corners)[0, 16, :, 0]) * width
    inside = slice(16, width - 16)  # beyond the outermost features they are repeated
    off = np.arange(width)[inside] - back[inside]
    if constant is not None:
        np.testing.assert_allclose(off, constant, atol=0.02)
    np.testing.assert_allclose(np.ptp(off), drift, atol=0.1)  # 96 pixels * (16 * 9 / 129 - 1)


def test_every_encoder_sees_its_option_for_the_rate_of_first_blocks():
    """ResNet alone has it; the others take it as it comes."""
    for backbone in ("mobilenet_v2", "xception65"):
        for value in ("own", "previous"):
            encoders.check_options(backbone, first_block_rate=value)


def test_a_mixin_gives_the_attributes():
    class Net(CoversImage, nn.Module):
        num_classes: int

        @nn.compact
        def __call__(self, images, *, train):
            layers = bind_model(self, train=train)
            return layers.conv(self.num_classes)(images), {}

    contract.check("net", Net(2))
    assert Net(2).interpolation == (1, "half_pixel")
    Net(2).check_size((1, 3))
    assert Path(contract.__file__).name in contract._SEE
