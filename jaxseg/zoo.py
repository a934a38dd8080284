"""The model zoo: full-size models with their papers, their cost, and whose weights fit them."""

import dataclasses
import functools
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg import models


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
TORCHVISION = {
    "output_stride": 8,
    "first_block_rate": "previous",
    "head_conv": True,
    "aux_head": True,
    "dropout": 0.5,
}
SMP = {
    "separable": True,
    "depthwise_norm": False,
    "head_conv": True,
    "decoder_depth": 1,
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


def cost(
    model: nn.Module,
    height: int,
    width: int,
    traced: dict[Any, Any] | None = None,
    *,
    channels: int = 3,
) -> Cost:
    """Count parameters and multiply-adds for an image, without computing anything.

    Every weight of a kernel is used once at each position: the output's of a convolution, the
    input's of a transposed one, whichever are fewer. Fixed interpolation, norms and activations
    are not counted; neither torchvision nor the papers do.

    A module like one before, on inputs of the same shapes, is not traced again. `traced` keeps
    them from one model to the next.
    """
    counter = _Counter({} if traced is None else traced)
    images = jnp.zeros((1, height, width, channels))
    with nn.intercept_methods(counter.call):
        jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return Cost(counter.parameters, counter.multiply_adds)


class _Counter:
    """Adds up what the modules of a model have, while it is traced."""

    def __init__(self, traced: dict[Any, Any]):
        self.parameters = self.multiply_adds = 0
        self._traced = traced  # signature -> parameters, multiply-adds, shapes of the output
        self._paths: set[tuple[str, ...]] = set()  # a module that is called twice is one

    def call(self, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        """Intercepts a method of a module."""
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        key = _signature(module, args, kwargs)
        is_new = module.path not in self._paths
        self._paths.add(module.path)
        if key in self._traced:
            parameters, multiply_adds, shapes = self._traced[key]
            self.parameters += parameters * is_new
            self.multiply_adds += multiply_adds
            return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        before = self.parameters, self.multiply_adds
        out = call(*args, **kwargs)
        params = module.variables.get("params", {})
        own = {name: x for name, x in params.items() if not isinstance(x, Mapping)}
        self.parameters += sum(x.size for x in own.values()) * is_new
        if "kernel" in own:
            positions = min(math.prod(x.shape[1:3]) for x in (args[0], out))
            self.multiply_adds += positions * own["kernel"].size
        if is_new:
            added = self.parameters - before[0], self.multiply_adds - before[1]
            shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), out)
            self._traced[key] = (*added, shapes)
        return out


def _signature(module: nn.Module, args: Any, kwargs: Any) -> Any:
    """What decides the shapes of a module's parameters and outputs: its fields, and its inputs."""
    inputs = jax.tree.map(
        lambda x: (x.shape, x.dtype) if hasattr(x, "shape") else x, (args, kwargs)
    )
    return type(module), _fields(module), repr(inputs)


def _fields(value: Any) -> Any:
    """The fields of a module, or of the layers that are bound in it, by value."""
    if isinstance(value, functools.partial):
        return value.func, value.args, repr(sorted(value.keywords.items()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return tuple((n, _fields(getattr(value, n))) for n in names if n not in ("parent", "name"))
    return value if isinstance(value, Hashable) else repr(value)


def build(entry: Entry) -> nn.Module:
    """The entry's model, for ImageNet's 1000 classes or PASCAL VOC's 21."""
    classes = 1000 if entry.model == "classifier" else 21
    return models.build(entry.model, classes, dtype=jnp.float32, **entry.options)


def entries() -> list[Entry]:
    """The zoo, and the models of other files in jaxseg/models as their defaults are."""
    known = {entry.model for entry in ZOO}
    others = (name for name in models.names() if name not in known)
    return [*ZOO, *(Entry(name, {}, models.summary(name)) for name in others)]


def row(
    entry: Entry, size: int, traced: dict[Any, Any] | None = None
) -> tuple[str, str, str, str, str]:
    """Parameters in millions, multiply-adds in 1e9 at `size`, paper, argument, weights.

    `traced` as in `cost`. A model that does not take images of this size is counted at the next
    larger one it takes.
    """
    model: Any = build(entry)
    side = model.fit(size)
    found = cost(model, side, side, traced)
    return (
        f"{found.parameters / 1e6:.2f}",
        f"{found.multiply_adds / 1e9:.1f}" + (f" at {side}" if side != size else ""),
        entry.paper,
        entry.argument,
        ", ".join(entry.weights),
    )
