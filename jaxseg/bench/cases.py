"""The shapes that operations are timed at: those of the networks, several a class of shapes."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.ops.conv import conv
from jaxseg.ops.depthwise import depthwise_conv
from jaxseg.ops.pooling import max_pool, max_pool_3x3
from jaxseg.ops.resize import resize
from jaxseg.ops.transposed import transposed_conv, transposed_conv_per_class


@dataclasses.dataclass(frozen=True)
class Case:
    operation: str  # as `lowering.choose` is asked
    shapes: str  # the class of shapes, likewise
    where: str  # the network and layer
    call: Callable[..., jax.Array]
    x: tuple[int, ...]  # height, width, channels of one image
    kernel: tuple[int, ...] = ()  # of operations that have one
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        size = "x".join(map(str, self.x))
        return f"{self.operation}, {self.where}, {size}"

    def on(self, backend: str) -> "Case":
        """With a batch: 16 images on a GPU; on a CPU two, and no more channels than Xception's."""
        if backend != "cpu":
            return dataclasses.replace(self, x=(16, *self.x))
        most = 728
        kernel = self.kernel
        if self.x[-1] > most and self.kernel:
            place = self.kernel.index(self.x[-1])
            kernel = (*self.kernel[:place], most, *self.kernel[place + 1 :])
        return dataclasses.replace(self, x=(2, *self.x[:2], min(self.x[2], most)), kernel=kernel)

    def arrays(self, dtype: Any) -> tuple[jax.Array, ...]:
        """The input, and the kernel if there is one, so large that the output is about one."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal(self.x, np.float32)
        if not self.kernel:
            return (jnp.asarray(x, dtype),)
        fan_in = math.prod(self.kernel[:-1])
        kernel = rng.standard_normal(self.kernel, np.float32) / math.sqrt(fan_in)
        return jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)

    def __call__(self, *arrays: jax.Array) -> jax.Array:
        return self.call(*arrays, **self.options)


def _conv(
    operation: str,
    shapes: str,
    where: str,
    x: tuple[int, ...],
    features: int,
    k: int,
    **options: int,
) -> Case:
    return Case(operation, shapes, where, conv, x, (k, k, x[-1], features), options)


def _depthwise(shapes: str, where: str, x: tuple[int, ...], **options: int) -> Case:
    return Case("depthwise_conv", shapes, where, depthwise_conv, x, (3, 3, 1, x[-1]), options)


def _transposed(
    shapes: str, where: str, x: tuple[int, ...], features: int, k: int, **options: int
) -> Case:
    kernel = (k, k, x[-1], features)
    return Case("transposed_conv", shapes, where, transposed_conv, x, kernel, options)


def _per_class(shapes: str, where: str, x: tuple[int, ...], factor: int) -> Case:
    k = 2 * factor
    options = {"stride": factor, "padding": factor // 2}
    call = transposed_conv_per_class
    return Case("transposed_conv_per_class", shapes, where, call, x, (k, k, x[-1]), options)


def _resize(shapes: str, where: str, x: tuple[int, ...], size: int, **options: str) -> Case:
    return Case("resize", shapes, where, resize, x, (), {"size": (size, size), **options})


CASES: tuple[Case, ...] = (
    _conv("conv", "image", "U-Net, first", (256, 256, 3), 64, 3),
    _conv("conv", "image, strided", "ResNet, stem", (257, 257, 3), 64, 7, stride=2),
    _conv("conv", "image, strided", "MobileNetV2, stem", (257, 257, 3), 32, 3, stride=2),
    _conv("conv", "narrow", "ResNet, block 1", (129, 129, 64), 64, 3),
    _conv("conv", "narrow", "Xception, entry", (129, 129, 32), 64, 3),
    _conv("conv", "narrow", "U-Net, level 1", (256, 256, 64), 64, 3),
    _conv("conv", "narrow, strided", "ResNet-18, block 2", (129, 129, 64), 128, 3, stride=2),
    _conv("conv", "narrow, strided", "width 32, by half", (129, 129, 32), 64, 3, stride=2),
    _conv("conv", "wide", "ResNet, block 2", (65, 65, 128), 128, 3),
    _conv("conv", "wide", "ResNet, block 3", (33, 33, 256), 256, 3),
    _conv("conv", "wide", "ResNet, block 4", (17, 17, 512), 512, 3),
    _conv("conv", "wide", "U-Net, level 2", (128, 128, 256), 128, 3),
    _conv("conv", "wide", "DeepLabv3+, decoder", (129, 129, 304), 256, 3),
    _conv("conv", "wide, strided", "ResNet, block 2", (129, 129, 128), 128, 3, stride=2),
    _conv("conv", "wide, strided", "ResNet, block 3", (65, 65, 256), 256, 3, stride=2),
    _conv("conv", "large kernel", "VGG16, fc6", (16, 16, 512), 4096, 7),
    _conv("conv", "large kernel", "VGG16, fc6", (8, 8, 512), 4096, 7),
    _conv("pointwise_conv", "dense", "ResNet, block 3, out", (33, 33, 256), 1024, 1),
    _conv("pointwise_conv", "dense", "ResNet, block 3, in", (33, 33, 1024), 256, 1),
    _conv("pointwise_conv", "dense", "MobileNetV2, expansion", (129, 129, 24), 144, 1),
    _conv("pointwise_conv", "dense", "Xception, middle", (33, 33, 728), 728, 1),
    _conv("pointwise_conv", "strided", "ResNet, shortcut 2", (129, 129, 256), 512, 1, stride=2),
    _conv("pointwise_conv", "strided", "ResNet, shortcut 3", (65, 65, 512), 1024, 1, stride=2),
    _conv("atrous_conv", "near", "ResNet, rate 2", (33, 33, 256), 256, 3, dilation=2),
    _conv("atrous_conv", "near", "ResNet, rate 4", (33, 33, 512), 512, 3, dilation=4),
    _conv("atrous_conv", "near", "ASPP, rate 6", (33, 33, 2048), 256, 3, dilation=6),
    _conv("atrous_conv", "far", "ASPP, rate 12", (33, 33, 2048), 256, 3, dilation=12),
    _conv("atrous_conv", "far", "ASPP, rate 18", (33, 33, 2048), 256, 3, dilation=18),
    _depthwise("dense", "MobileNetV2, block 3", (129, 129, 144)),
    _depthwise("dense", "MobileNetV2, block 6", (65, 65, 192)),
    _depthwise("dense", "Xception, middle", (33, 33, 728)),
    _depthwise("dense", "DeepLabv3+, decoder", (129, 129, 304)),
    _depthwise("strided", "MobileNetV2, block 2", (257, 257, 96), stride=2),
    _depthwise("strided", "MobileNetV2, block 4", (129, 129, 144), stride=2),
    _depthwise("strided", "Xception, entry", (65, 65, 728), stride=2),
    _depthwise("dilated", "MobileNetV2, rate 2", (33, 33, 960), dilation=2),
    _depthwise("dilated", "ASPP, rate 6", (33, 33, 2048), dilation=6),
    _depthwise("dilated", "ASPP, rate 18", (33, 33, 2048), dilation=18),
    _transposed("stride = kernel", "U-Net, level 3", (32, 32, 512), 256, 2, stride=2),
    _transposed("stride = kernel", "U-Net, level 2", (64, 64, 256), 128, 2, stride=2),
    _transposed("overlapping", "4x4, stride 2", (64, 64, 64), 64, 4, stride=2, padding=1),
    _transposed("overlapping", "4x4, stride 2", (33, 33, 256), 128, 4, stride=2, padding=1),
    _per_class("stride 2 or less", "FCN-8s, fuse", (33, 33, 21), 2),
    _per_class("stride 2 or less", "SegNet, last", (128, 128, 21), 2),
    _per_class("larger stride", "FCN-8s, 8 times", (32, 32, 21), 8),
    _per_class("larger stride", "FCN-16s, 16 times", (16, 16, 21), 16),
    _resize("enlarge", "DeepLabv3+, logits", (129, 129, 21), 513),
    _resize("enlarge", "DeepLabv3+, decoder", (33, 33, 256), 129),
    _resize("enlarge", "DeepLabv3, image pooling", (1, 1, 256), 33),
    _resize("shrink", "half, images", (257, 257, 3), 129),
    _resize("shrink", "half, features", (65, 65, 256), 33),
    Case("max_pool", "2x2", "VGG, first", max_pool, (256, 256, 64)),
    Case("max_pool", "2x2", "U-Net, level 2", max_pool, (64, 64, 256)),
    Case("max_pool", "larger", "4x4", max_pool, (128, 128, 64), (), {"window": 4}),
    Case("max_pool_3x3", "strided", "ResNet, stem", max_pool_3x3, (257, 257, 64)),
    Case("max_pool_3x3", "strided", "Xception, entry", max_pool_3x3, (129, 129, 128)),
    Case(
        "max_pool_3x3",
        "dense",
        "Xception, stride 1",
        max_pool_3x3,
        (65, 65, 256),
        (),
        {"stride": 1},
    ),
)
