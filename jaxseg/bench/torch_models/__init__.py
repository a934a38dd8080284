"""The benchmark's networks in PyTorch: those of `jaxseg/models`, layer by layer.

A module here has the path that the layer has among jaxseg's parameters, so that `copy_variables`
copies those by name; both then give the same logits (`tests/bench/test_torch_models.py`). Tables of
channels and strides are jaxseg's own.
"""

from typing import Any

from torch import nn  # pyright: ignore[reportMissingImports]

from jaxseg.bench.torch_models.deeplab import DeepLabV3, DeepLabV3Plus
from jaxseg.bench.torch_models.fcn import FCN
from jaxseg.bench.torch_models.unet import UNet

MODELS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "fcn": FCN,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
}


def build(name: str, num_classes: int, **options: Any) -> nn.Module:
    """The model `name` of jaxseg, with those of its options that the benchmarks set."""
    return MODELS[name](num_classes, **options)
