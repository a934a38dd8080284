"""torchvision, timm and segmentation-models-pytorch."""
# pyright: reportMissingImports=false

from typing import Any

import numpy as np
import torch
import values

from programs import Outputs, Reference

_LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):  # torchvision's compiled part is missing beside PyTorch from PyPI
    _LIBRARY.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402
import torchvision  # noqa: E402

torch.set_grad_enabled(False)


def torch_reference(
    net: torch.nn.Module,
    normalisation: dict[str, Any],
    heads: dict[str, torch.nn.Module] | None = None,
    names: list[str] | None = None,
    **options,
) -> Reference:
    """A PyTorch module; `heads` give logits before they are resized; `names` replace its own."""
    entries = {k: v for k, v in net.state_dict().items() if "num_batches_tracked" not in k}
    own = list(entries)
    names = names or own
    for name, tensor in zip(names, entries.values(), strict=True):
        tensor.copy_(torch.from_numpy(values.entry(name, tuple(tensor.shape))))
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1

    caught: Outputs = {}
    for head, module in (heads or {}).items():
        module.register_forward_hook(
            lambda module, inputs, output, head=head: caught.update({head: _nhwc(output)})  # pyright: ignore[reportArgumentType]
        )

    def evaluate(images: np.ndarray) -> Outputs:
        net.eval()
        final = net(_nchw(images))
        final = final["out"] if isinstance(final, dict) else final
        if not heads:
            return {"logits": _nhwc(final)}
        same_size = final.shape[2:] == images.shape[1:3]
        return caught | ({"full": _nhwc(final)} if same_size else {})

    def train(images: np.ndarray) -> dict[str, np.ndarray]:
        net.train()
        net(_nchw(images))
        after = net.state_dict()
        return {n: after[o].numpy() for n, o in zip(names, own, strict=True) if "running_" in n}

    shapes = {n: tuple(t.shape) for n, t in zip(names, entries.values(), strict=True)}
    mean, std = (tuple(255 * x for x in normalisation[key]) for key in ("mean", "std"))
    return Reference(shapes, evaluate, train, mean, std, **options)


def _nchw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _nhwc(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy().copy()


def torchvision_classifier(name: str, weights: str, **options) -> Reference:
    return torch_reference(
        getattr(torchvision.models, name)(), _torchvision_normalisation(weights), **options
    )


def torchvision_segmentation(name: str, weights: str) -> Reference:
    make = getattr(torchvision.models.segmentation, name)
    net = make(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    heads = {"logits": net.classifier, "aux_logits": net.aux_classifier}
    normalisation = _torchvision_normalisation(f"segmentation.{weights}")
    return torch_reference(net, normalisation, heads)


def _torchvision_normalisation(weights: str) -> dict[str, Any]:
    found: Any = torchvision.models
    for part in weights.split("."):
        found = getattr(found, part)
    transforms = found.DEFAULT.transforms()
    return {"mean": transforms.mean, "std": transforms.std}


def timm_classifier(name: str, **options) -> Reference:
    net = timm.create_model(name, pretrained=False)
    return torch_reference(net, net.default_cfg, **options)


def efficientnet_lite0_pytorch() -> Reference:
    """The TensorFlow form of timm under the names of the package efficientnet-lite-pytorch."""
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = [n for n in net.state_dict() if "num_batches_tracked" not in n]
    flat: dict[str, int] = {}  # "blocks.3.1" -> the block's number
    renamed = []
    for name in names:
        parts = name.split(".")
        if parts[0] == "blocks":
            number = flat.setdefault(".".join(parts[:3]), len(flat))
            renamed.append(f"_blocks.{number}.{_lite_layer(parts[3], number)}.{parts[4]}")
        else:
            top = {"bn1": "_bn0", "bn2": "_bn1", "classifier": "_fc"}
            renamed.append(f"{top.get(parts[0], '_' + parts[0])}.{parts[1]}")
    normalisation = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}
    return torch_reference(net, normalisation, names=renamed)


def _lite_layer(name: str, block: int) -> str:
    if block == 0:  # no expansion
        names = {"conv_dw": "_depthwise_conv", "conv_pw": "_project_conv"}
        return (names | {"bn1": "_bn1", "bn2": "_bn2"})[name]
    convs = {"conv_pw": "_expand_conv", "conv_dw": "_depthwise_conv", "conv_pwl": "_project_conv"}
    return (convs | {"bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"})[name]


def smp_unet(encoder: str) -> Reference:
    net = smp.Unet(encoder, encoder_weights=None, classes=21)
    net.requires_divisible_input_shape = False  # its decoder resizes to its skips
    normalisation = _torchvision_normalisation("ResNet50_Weights")  # smp's own are on the hub
    return torch_reference(net, normalisation, {"logits": net.segmentation_head[0]})


def smp_deeplabv3plus(encoder: str) -> Reference:
    """Smp upsamples by 4 and takes multiples of 16; here it resizes to the skip, for any size."""
    net = smp.DeepLabV3Plus(encoder, encoder_weights=None, classes=21)
    net.requires_divisible_input_shape = False
    skip = {}
    net.decoder.register_forward_pre_hook(
        lambda module, inputs: skip.update(size=inputs[0][2].shape[2:])
    )

    class ToSkip(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.interpolate(
                x, size=skip["size"], mode="bilinear", align_corners=True
            )

    net.decoder.up = ToSkip()
    normalisation = _torchvision_normalisation("ResNet50_Weights")  # smp's own are on the hub
    return torch_reference(net, normalisation, {"logits": net.segmentation_head[0]})
