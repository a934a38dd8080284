"""Keras applications, on JAX."""
# pyright: reportMissingImports=false

import os
from typing import Any

import numpy as np
import values

from programs import SMALL, Outputs, Reference

os.environ["KERAS_BACKEND"] = "jax"

import keras


def keras_classifier(name: str, module: str, sizes=SMALL, batch: int = 2) -> Reference:
    """An application of Keras on RGB images, reversed for those that take BGR ("caffe" mode)."""
    mean, std, bgr = _keras_normalisation(module)

    def build(size: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
        keras.backend.clear_session()  # or unnamed layers are numbered on from the last network
        make = getattr(keras.applications, name)
        net = make(weights=None, input_shape=(*size, 3), classifier_activation=None)
        variables = {f"{layer.name}/{v.name}": v for layer in net.layers for v in layer.weights}
        for variable, value in variables.items():
            value.assign(values.entry(variable, tuple(value.shape)))
        return net, variables

    def run(net: Any, images: np.ndarray, training: bool) -> np.ndarray:
        return np.asarray(net(images[..., ::-1] if bgr else images, training=training))

    def evaluate(images: np.ndarray) -> Outputs:
        return {"logits": run(build(images.shape[1:3])[0], images, training=False)}

    def train(images: np.ndarray) -> dict[str, np.ndarray]:
        net, variables = build(images.shape[1:3])
        norms = [x for x in net.layers if isinstance(x, keras.layers.BatchNormalization)]
        for norm in norms:
            norm.momentum = 0.0  # moving statistics become the batch's
        run(net, images, training=True)
        after = {}
        for norm in norms:
            count = len(images) * np.prod(norm.output.shape[1:3])
            for kind, factor in (("moving_mean", 1), ("moving_variance", count / (count - 1))):
                key = f"{norm.name}/{kind}"
                batch = np.asarray(variables[key]) * np.float32(factor)
                old = values.entry(key, batch.shape)
                after[key] = np.float32(0.9) * old + np.float32(0.1) * batch
        return after

    shapes = {k: tuple(v.shape) for k, v in build(sizes[0])[1].items()}
    return Reference(shapes, evaluate, train, mean, std, sizes, batch)


def _keras_normalisation(module: str) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Mean and standard deviation in RGB, and whether the network takes BGR, by trying it out."""
    preprocess = getattr(keras.applications, module).preprocess_input
    dark, bright, red = (
        preprocess(np.array([[colour]], np.float32))[0, 0]
        for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0))
    )
    std = 255 / (bright - dark)
    mean, bgr = -dark * std, bool(red[0] == dark[0])
    rgb = slice(None, None, -1) if bgr else slice(None)
    return tuple(map(float, mean[rgb])), tuple(map(float, std[rgb])), bgr
