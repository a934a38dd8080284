"""Keras applications' names: VGG16, ResNet50 and 101, Xception, MobileNetV2, with or without top.

Entries are "LAYER/VARIABLE" (see `jaxseg/weights/files/keras.py`); the names are those of Keras 2.3
and later.

VGG16 and ResNet were trained on BGR images: the input channels of their first kernel are reversed,
so that they take RGB like all others. ResNet's convolutions have biases before their batch norms:
subtracting the bias from the running mean is equivalent.
"""

import re
from typing import Any

import numpy as np

from jaxseg.models import resnet
from jaxseg.weights.families.names import (
    Entries,
    Rule,
    Variables,
    depths,
    make,
    rename,
    unknown_path,
)
from jaxseg.weights.imported import Imported

NAME = "Keras applications"

_CAFFE = {"mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}
_TF = {"mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)}
_SAME = {"padding": "tf_same", "norm_epsilon": 1e-3}
_LOGITS: Rule = ("predictions|probs|Logits", "logits")
_PARTS = {"conv": "conv", "bn": "norm", "": "conv", "_BN": "norm", "_bn": "norm"}

_VGG16: list[Rule] = [
    (r"block(\d)_conv(\d)", r"encoder/conv\1_\2"),
    ("fc1", "fc6"),
    ("fc2", "fc7"),
    _LOGITS,
]
_RESNET: list[Rule] = [
    (r"conv1_(conv|bn)", lambda part: f"encoder/stem_{_PARTS[part]}"),
    (
        r"conv(\d)_block(\d+)_0_(conv|bn)",
        lambda s, b, part: f"encoder/stage{int(s) - 1}_block{b}/shortcut_{_PARTS[part]}",
    ),
    (
        r"conv(\d)_block(\d+)_(\d)_(conv|bn)",
        lambda s, b, i, part: f"encoder/stage{int(s) - 1}_block{b}/{_PARTS[part]}{i}",
    ),
    _LOGITS,
]
_MOBILENET_V2: list[Rule] = [
    ("Conv1", "encoder/stem_conv"),
    ("bn_Conv1", "encoder/stem_norm"),
    (
        "expanded_conv_(depthwise|project)(_BN|)",
        lambda name, part: f"encoder/block1/{name}_{_PARTS[part]}",
    ),
    (
        r"block_(\d+)_(expand|depthwise|project)(_BN|)",
        lambda b, name, part: f"encoder/block{int(b) + 1}/{name}_{_PARTS[part]}",
    ),
    ("Conv_1(_bn|)", lambda part: f"head_{_PARTS[part]}"),
    _LOGITS,
]
_XCEPTION: list[Rule] = [
    (r"block1_conv([12])(_bn|)", lambda i, part: f"encoder/stem{i}_{_PARTS[part]}"),
    (r"block(\d+)_sepconv(\d)", r"encoder/block\1/sep\2"),
    (r"block(\d+)_sepconv(\d)_bn", r"encoder/block\1/sep\2_norm"),
    _LOGITS,
]
_XCEPTION_SHORTCUTS = {128: 2, 256: 3, 728: 4, 1024: 13}  # channels -> block

_KINDS = {
    "kernel": "params/{}/kernel",
    "depthwise_kernel": "params/{}/depthwise_conv/kernel",
    "pointwise_kernel": "params/{}/pointwise_conv/kernel",
    "bias": "params/{}/bias",
    "gamma": "params/{}/scale",
    "beta": "params/{}/bias",
    "moving_mean": "batch_stats/{}/mean",
    "moving_variance": "batch_stats/{}/var",
}


def recognise(entries: Entries) -> Imported | None:
    """The entries under our names; None if they are of none of these networks."""
    if "block14_sepconv2/pointwise_kernel" in entries:
        rules = [*_XCEPTION, *_xception_shortcuts(entries)]
        return _from_keras(entries, rules, "xception", _SAME, _TF)
    if "block_16_project/kernel" in entries:
        return _from_keras(entries, _MOBILENET_V2, "mobilenet_v2", _SAME, _TF)
    if "block5_conv3/kernel" in entries:
        options = {"rounding": "floor", "fc_padding": "valid"}
        return _from_keras(
            _unflattened(entries), _VGG16, "vgg16", options, _CAFFE, bgr="encoder/conv1_1"
        )
    if "conv1_conv/kernel" in entries:
        blocks = depths(entries, r"conv(\d)_block(\d+)_1_conv/")
        wanted = (True, False, blocks)  # bottlenecks with the stride in their first 1x1
        variant = next((name for name, row in resnet.VARIANTS.items() if row == wanted), None)
        if variant:
            options = {"padding": "symmetric", "norm_epsilon": 1.001e-5}
            return _from_keras(entries, _RESNET, variant, options, _CAFFE, bgr="encoder/stem_conv")
    return None


def _from_keras(
    entries: Entries,
    rules: list[Rule],
    backbone: str,
    options: dict[str, Any],
    normalisation: dict[str, Any],
    bgr: str = "",
) -> Imported:
    """`bgr` is the layer whose three input channels are to be reversed."""
    variables, sources = {}, {}
    for name, value in entries.items():
        layer, _, kind = name.rpartition("/")
        ours = rename(layer, rules)
        path = _KINDS[kind].format(ours) if ours and kind in _KINDS else unknown_path(name)
        variables[path] = _our_layout(path, value)
        sources[path] = name
    if bgr:
        path = f"params/{bgr}/kernel"
        variables[path] = variables[path][:, :, ::-1]
    added_to = {sources.pop(bias): mean for bias, mean in _fold_biases(variables).items()}
    return make(
        variables,
        sources,
        (),
        f"Keras {backbone}",
        "classifier",
        options={"backbone": backbone, **options},
        added_to=added_to,
        **normalisation,
    )


def _our_layout(path: str, value: np.ndarray) -> np.ndarray:
    """Depthwise [k, k, c, 1] -> [k, k, 1, c], matrices [i, o] -> [1, 1, i, o]."""
    if path.endswith("depthwise_conv/kernel"):
        return value.transpose(0, 1, 3, 2)
    return value[None, None] if path.endswith("/kernel") and value.ndim == 2 else value


def _fold_biases(variables: Variables) -> dict[str, str]:
    """Move biases of convolutions that a batch norm follows into its running mean.

    Returns the path of each such bias and that of its mean.
    """
    folded = {}
    for path in list(variables):
        match = re.fullmatch(r"params/(.*)conv(\d?)/bias", path)
        mean = f"batch_stats/{match[1]}norm{match[2]}/mean" if match else ""
        if mean in variables:
            variables[mean] = variables[mean] - variables.pop(path)
            folded[path] = mean
    return folded


def _unflattened(entries: Entries) -> Entries:
    """fc6 is a matrix over flattened 7x7 features, channels last: [49 * c, o] -> [7, 7, c, o]."""
    if "fc1/kernel" not in entries:
        return entries
    matrix = entries["fc1/kernel"]
    return {**entries, "fc1/kernel": matrix.reshape(7, 7, -1, matrix.shape[-1])}


def _xception_shortcuts(entries: Entries) -> list[Rule]:
    """The 1x1 convolutions and norms of the shortcuts, which Keras only numbers ("conv2d_1").

    Numbering continues where one session builds several networks; the channels tell the block.
    """
    rules: list[Rule] = []
    for name, value in entries.items():
        layer = name.rpartition("/")[0]
        if match := re.match(r"(conv2d|batch_normalization)(_\d+)?/(kernel|gamma)$", name):
            block = _XCEPTION_SHORTCUTS.get(value.shape[-1])
            part = "conv" if match[1] == "conv2d" else "norm"
            if block:
                rules.append((layer, f"encoder/block{block}/shortcut_{part}"))
    return rules
