"""The model zoo: full-size models with their papers, their cost, and whose weights fit them."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg import models, tiles


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model and its options, its paper, and sources of weights whose numbers are equal here.

    A source is the name of a fixture in tests/weights/fixtures. tests/weights/test_parity.py
    imports the same random weights (seeded, uniform) that the source's program was run with and
    compares, in float32 on the CPU: up to 1000 logits in evaluation mode on random images of an
    even and an odd size (64x96 and 65x49; larger for VGG16 and Keras's Xception), to 1e-4 of the
    logits' range; and running means and variances after one training pass, four channels and two
    summaries of each, to 1e-4 of the layer's largest standard deviation or variance. The two named
    slim_* are compared, in evaluation only, with their graph written in `jax.lax`
    (tests/weights/families/test_slim.py). No trained weights take part.

    `jaxseg weights inspect` names the other options that a source needs, such as padding. A
    classifier's weights fit every model on its backbone.
    """

    model: str
    options: dict[str, Any]
    paper: str
    weights: tuple[str, ...] = ()

    @property
    def argument(self) -> str:
        """What follows the colon in `--config FILE:ARGUMENT`."""
        pairs = (f"{key}={value}".replace(" ", "") for key, value in self.options.items())
        return ",".join([self.model, *pairs])


VGG = ("torchvision_vgg16", "timm_vgg16", "keras_vgg16")
MOBILENET = (
    "torchvision_mobilenet_v2",
    "timm_mobilenetv2_100",
    "keras_mobilenet_v2",
    "slim_mobilenet_v2",
)
EFFICIENTNET = (
    "timm_efficientnet_lite0",
    "timm_tf_efficientnet_lite0",
    "efficientnet_lite0_pytorch",
)
TORCHVISION = {"output_stride": 8, "head_conv": True, "aux_head": True, "dropout": 0.5}
SMP = {
    "separable": True,
    "depthwise_norm": False,
    "head_conv": True,
    "decoder_depth": 1,
    "dilate_strided": True,
    "dropout": 0.5,
    "corners": "aligned",
    "atrous_rates": (12, 24, 36),
}


def _resnets(*depths: int, sources: tuple[str, ...]) -> Iterator[tuple[dict, tuple[str, ...]]]:
    for depth in depths:
        name = f"resnet{depth}"
        yield {"backbone": name}, tuple(f"{source}_{name}" for source in sources)


ZOO = (
    Entry("classifier", {"backbone": "vgg16"}, "Simonyan, Zisserman 2015", VGG),
    *(
        Entry("classifier", options, "He et al. 2016", weights)
        for options, weights in _resnets(18, 34, 50, 101, sources=("torchvision", "timm"))
    ),
    Entry("classifier", {"backbone": "resnet50_v1"}, "He et al. 2016", ("keras_resnet50",)),
    Entry("classifier", {"backbone": "xception"}, "Chollet 2017", ("keras_xception",)),
    Entry("classifier", {"backbone": "xception65"}, "Chen et al. 2018", ("timm_xception65",)),
    Entry("classifier", {"backbone": "mobilenet_v2"}, "Sandler et al. 2018", MOBILENET),
    Entry("classifier", {"backbone": "efficientnet_lite0"}, "Tan, Le 2019; 2020", EFFICIENTNET),
    *(Entry("fcn", {"stride": stride}, "Long et al. 2015") for stride in (32, 16, 8)),
    Entry("fcn", {"stride": 8, "padding": "paper"}, "Long et al. 2015"),
    *(
        Entry("fcn_resnet", options, "Long et al. 2015; Chen et al. 2017", weights)
        for options, weights in _resnets(50, 101, sources=("torchvision_fcn",))
    ),
    Entry(
        "unet",
        {"padding": "valid", "batch_norm": False, "dropout": (0.5, 0.5)},
        "Ronneberger et al. 2015",
    ),
    Entry("unet", {}, "Ronneberger et al. 2015, padded"),
    *(
        Entry("unet_resnet", options, "Ronneberger et al. 2015; He et al. 2016", weights)
        for options, weights in _resnets(18, 34, 50, sources=("smp_unet",))
    ),
    *(
        Entry("deeplabv3", {**options, **TORCHVISION}, "Chen et al. 2017", weights)
        for options, weights in _resnets(50, 101, sources=("torchvision_deeplabv3",))
    ),
    Entry("deeplabv3", {"backbone": "resnet101", "multi_grid": (1, 2, 4)}, "Chen et al. 2017"),
    Entry(
        "deeplabv3",
        {"backbone": "mobilenet_v2", "atrous_rates": ()},
        "Sandler et al. 2018",
        ("slim_deeplabv3_mobilenet_v2",),
    ),
    *(
        Entry("deeplabv3plus", {**options, **SMP}, "Chen et al. 2018", weights)
        for options, weights in _resnets(18, 34, 50, sources=("smp_deeplabv3plus",))
    ),
    *(
        Entry("deeplabv3plus", {"backbone": f"resnet{depth}"}, "Chen et al. 2018")
        for depth in (50, 101)
    ),
    *(
        Entry("deeplabv3plus", {"backbone": name, "separable": True}, "Chen et al. 2018")
        for name in ("xception65", "mobilenet_v2")
    ),
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one image: the model's parameters, and the multiply-adds of all its kernels."""

    parameters: int
    multiply_adds: int


def cost(model: nn.Module, height: int, width: int) -> Cost:
    """Count parameters and multiply-adds for an RGB image, without computing anything.

    Every weight of a kernel is used once at each position: the output's of a convolution, the
    input's of a transposed one, whichever are fewer. Fixed interpolation, norms and activations
    are not counted; neither torchvision nor the papers do.
    """
    multiply_adds = 0

    def count(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        nonlocal multiply_adds
        out = call(*args, **kwargs)
        if context.method_name == "__call__":
            kernel = context.module.get_variable("params", "kernel")
            if kernel is not None:
                positions = min(math.prod(x.shape[1:3]) for x in (args[0], out))
                multiply_adds += positions * kernel.size
        return out

    images = jnp.zeros((1, height, width, 3))
    with nn.intercept_methods(count):
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return Cost(sum(x.size for x in jax.tree.leaves(variables["params"])), multiply_adds)


def build(entry: Entry) -> nn.Module:
    """The entry's model, for ImageNet's 1000 classes or PASCAL VOC's 21."""
    classes = 1000 if entry.model == "classifier" else 21
    return models.build(entry.model, classes, dtype=jnp.float32, **entry.options)


def row(entry: Entry, size: int) -> tuple[str, str, str, str, str]:
    """Parameters in millions, multiply-adds in 1e9 at `size`, paper, argument, weights.

    A model that does not take images of this size is counted at the next larger one it takes.
    """
    model: Any = build(entry)
    side = model.fit(size) if tiles.context(model) else size
    found = cost(model, side, side)
    return (
        f"{found.parameters / 1e6:.2f}",
        f"{found.multiply_adds / 1e9:.1f}" + (f" at {side}" if side != size else ""),
        entry.paper,
        entry.argument,
        ", ".join(entry.weights),
    )
