"""Makes the parity fixtures: runs each reference program and stores samples of its outputs.

    python tests/weights/references.py [NAME...]      (all of them: 2 minutes on 2 cores)

It needs the reference programs; the tests do not:

    pip install torch==2.13.0 keras==3.15.1 jax h5py
    pip install pillow pyyaml safetensors huggingface_hub tqdm
    pip install --no-deps torchvision==0.28.0 timm==1.0.31 segmentation-models-pytorch==0.6.0

Every entry of a network is drawn from a seed that follows from its name (values.py), so a fixture
holds only names and shapes, samples of the logits at an even and an odd image size in evaluation
mode, and a digest of the running statistics after one pass in training mode. Dropout is off.

Conventions are converted to ours here: running statistics move by 0.1 towards the batch's (Keras:
by 0.01, MobileNetV2 by 0.001), whose variance is the unbiased one (Keras keeps the biased one; the
number of values follows from the layer's output shape).
"""

import json
import pathlib
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import values
from programs import Reference
from programs.with_keras import keras_classifier
from programs.with_torch import (
    efficientnet_lite0_pytorch,
    smp_deeplabv3plus,
    smp_unet,
    timm_classifier,
    torchvision_classifier,
    torchvision_segmentation,
)

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
VGG_SIZES = ((224, 224), (225, 231))  # both give fc6 its 7x7
XCEPTION_SIZES = ((96, 72), (75, 91))  # Keras takes 71 or more
REFERENCES: dict[str, Callable[[], Reference]] = {
    "torchvision_resnet18": partial(torchvision_classifier, "resnet18", "ResNet18_Weights"),
    "torchvision_resnet34": partial(torchvision_classifier, "resnet34", "ResNet34_Weights"),
    "torchvision_resnet50": partial(torchvision_classifier, "resnet50", "ResNet50_Weights"),
    "torchvision_resnet101": partial(torchvision_classifier, "resnet101", "ResNet101_Weights"),
    "torchvision_vgg16": partial(
        torchvision_classifier, "vgg16", "VGG16_Weights", sizes=VGG_SIZES, batch=1
    ),
    "torchvision_mobilenet_v2": partial(
        torchvision_classifier, "mobilenet_v2", "MobileNet_V2_Weights"
    ),
    "torchvision_fcn_resnet50": partial(
        torchvision_segmentation, "fcn_resnet50", "FCN_ResNet50_Weights"
    ),
    "torchvision_fcn_resnet101": partial(
        torchvision_segmentation, "fcn_resnet101", "FCN_ResNet101_Weights"
    ),
    "torchvision_deeplabv3_resnet50": partial(
        torchvision_segmentation, "deeplabv3_resnet50", "DeepLabV3_ResNet50_Weights"
    ),
    "torchvision_deeplabv3_resnet101": partial(
        torchvision_segmentation, "deeplabv3_resnet101", "DeepLabV3_ResNet101_Weights"
    ),
    **{
        f"timm_{name}": partial(timm_classifier, name)
        for name in (
            *("resnet18", "resnet34", "resnet50", "resnet101", "xception65"),
            *("mobilenetv2_100", "efficientnet_lite0", "tf_efficientnet_lite0"),
        )
    },
    # 256 rows: two positions of fc6, whose outputs are averaged
    "timm_vgg16": partial(timm_classifier, "vgg16", sizes=((256, 224), (225, 231)), batch=1),
    "efficientnet_lite0_pytorch": efficientnet_lite0_pytorch,
    "keras_vgg16": partial(keras_classifier, "VGG16", "vgg16", VGG_SIZES, 1),
    "keras_resnet50": partial(keras_classifier, "ResNet50", "resnet"),
    "keras_xception": partial(keras_classifier, "Xception", "xception", XCEPTION_SIZES),
    "keras_mobilenet_v2": partial(keras_classifier, "MobileNetV2", "mobilenet_v2"),
    **{f"smp_unet_resnet{d}": partial(smp_unet, f"resnet{d}") for d in (18, 34, 50)},
    **{
        f"smp_deeplabv3plus_resnet{d}": partial(smp_deeplabv3plus, f"resnet{d}")
        for d in (18, 34, 50)
    },
}


def store(name: str, reference: Reference) -> None:
    """Write fixtures/NAME.npz; print its size and how far logits depend on the image."""
    outputs, dependence = {}, 0.0
    for kind, size in zip(("even", "odd"), reference.sizes, strict=True):
        images = values.images(size, reference.batch)
        flipped = reference.evaluate(images[:, ::-1, :, ::-1].copy())
        for output, array in reference.evaluate(images).items():
            spread = array.max() - array.min()
            outputs[f"{kind}/{output}"] = values.sample(array, 200 if output == "full" else 1000)
            outputs[f"{kind}/{output}/range"] = spread
            dependence = max(dependence, np.abs(array - flipped[output]).max() / spread)
    if dependence < 0.02:
        raise ValueError(f"{name}: another image changes logits by {dependence:.2g} of their range")

    after = reference.train(values.images(reference.sizes[0], reference.batch))
    statistics = [values.digest(statistic) for statistic in after.values()]
    if not np.isfinite(statistics).all():
        raise ValueError(f"{name}: batch statistics are not finite")
    about = {
        "sizes": reference.sizes,
        "batch": reference.batch,
        "mean": reference.mean,
        "std": reference.std,
        "entries": {k: "x".join(map(str, v)) for k, v in reference.shapes.items()},
        "statistics": list(after),  # in the order of "after", six numbers each
    }
    path = FIXTURES / f"{name}.npz"
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(path, about=text, after=np.array(statistics, np.float32), **outputs)
    spread = float(outputs["even/logits/range"])
    print(f"{name}: {path.stat().st_size >> 10} kB, range {spread:.3g}, by image {dependence:.2g}")


def main(names: list[str]) -> None:
    for name in names or REFERENCES:
        store(name, REFERENCES[name]())


if __name__ == "__main__":
    main(sys.argv[1:])
