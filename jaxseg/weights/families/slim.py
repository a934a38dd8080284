"""TF-Slim's names with folded batch norms: MobileNetV2, and DeepLabv3 on it.

Such files come from networks that were prepared for inference: each batch norm is folded into its
convolution's "weights" and "biases". Here it stays a batch norm, which adds the bias and does
nothing else (scale sqrt(1 + epsilon), mean 0, variance 1), so that the model is the usual one; in
evaluation it computes what the folded network does.

MobileNetV2 has 1001 classes, the first of which is background. DeepLabv3 has output stride 16, an
ASPP of a 1x1 convolution and image pooling alone, and aligned corners. Pixels are scaled to -1..1.
"""

from typing import Any

import numpy as np

from jaxseg.weights.families.names import Entries, Rule, Variables, make, rename, unknown_path
from jaxseg.weights.imported import Imported

NAME = "TF-Slim"

_EPSILON = 1e-3
# Our name of a layer, without the "conv" or "norm" at its end
_NORMED: list[Rule] = [
    ("MobilenetV2/Conv", "encoder/stem_"),
    ("MobilenetV2/Conv_1", "head_"),
    ("MobilenetV2/expanded_conv/(depthwise|project)", r"encoder/block1/\1_"),
    (
        r"MobilenetV2/expanded_conv_(\d+)/(expand|depthwise|project)",
        lambda i, name: f"encoder/block{int(i) + 1}/{name}_",
    ),
    ("aspp0", "aspp/conv1x1/"),
    ("image_pooling", "aspp/image_pooling/"),
    ("concat_projection", "aspp/project/"),
]
_PLAIN: list[Rule] = [("MobilenetV2/Logits/Conv2d_1c_1x1|logits/semantic", "logits")]


def recognise(entries: Entries) -> Imported | None:
    """The entries under our names; None if they are of neither network."""
    if "MobilenetV2/expanded_conv_16/project/biases" not in entries:
        return None
    variables, sources = {}, {}
    for name, value in _reordered(entries).items():
        for path, ours in _variables(name, value).items():
            variables[path], sources[path] = ours, name
    family, model = "TF-Slim folded mobilenet_v2", "classifier"
    options: dict[str, Any] = {
        "backbone": "mobilenet_v2",
        "padding": "tf_same",
        "norm_epsilon": _EPSILON,
    }
    if "concat_projection/weights" in entries:
        family, model = "TF-Slim folded deeplabv3 mobilenet_v2", "deeplabv3"
        options |= {
            "output_stride": 16,
            "context_module": "aspp",
            "atrous_rates": (),
            "image_pooling": True,
            "head_conv": False,
            "corners": "aligned",
        }
    half = (127.5, 127.5, 127.5)
    return make(
        variables, sources, (), family, model, options=options, mean=half, std=half, folded=True
    )


def _reordered(entries: Entries) -> Entries:
    """Image pooling is concatenated first there, and last here."""
    name, pooled = "concat_projection/weights", "image_pooling/biases"
    if not {name, pooled} <= entries.keys():
        return entries
    return {**entries, name: np.roll(entries[name], -len(entries[pooled]), axis=2)}


def _variables(name: str, value: np.ndarray) -> Variables:
    """What becomes of an entry: one array, or the four of a batch norm."""
    layer, _, kind = name.rpartition("/")
    plain, normed = rename(layer, _PLAIN), rename(layer, _NORMED)
    conv = plain or f"{normed}conv"
    if not (plain or normed):
        return {unknown_path(name): value}
    if kind == "weights":
        return {f"params/{conv}/kernel": value}
    if kind == "depthwise_weights":  # [k, k, c, 1] -> [k, k, 1, c]
        return {f"params/{conv}/kernel": value.transpose(0, 1, 3, 2)}
    if kind != "biases":
        return {unknown_path(name): value}
    if plain:
        return {f"params/{conv}/bias": value}
    return {
        f"params/{normed}norm/bias": value,
        f"params/{normed}norm/scale": np.full_like(value, np.sqrt(1 + _EPSILON)),
        f"batch_stats/{normed}norm/mean": np.zeros_like(value),
        f"batch_stats/{normed}norm/var": np.ones_like(value),
    }
