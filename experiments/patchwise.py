"""Is a fully convolutional network only a faster way to apply a classifier to every patch?

Published: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR
2015, section 3.1: AlexNet on a GPU takes 1.2 ms for an image of 227x227 pixels, and 22 ms for the
10x10 outputs of one of 500x500, more than 5 times less than for 100 patches.

Here VGG16 (jaxseg/models/classifier.py) with random weights gives as many outputs, 32 pixels apart:

- "equal": patches of 416x416 pixels hold all that their middle output depends on. An image of
  704x704 gives the same numbers in one pass.
- "as trained": patches of 224x224, as a classifier is trained on, against an image of 512x512. Each
  patch has zeros around it where the image has pixels, so that the outputs are not the same.

Command:  python experiments/patchwise.py --json experiments/results/patchwise.json

Prints, and writes as JSON, for both: the median time of a call in seconds, whose compilation is
apart; the ratio of these; and the largest difference of two outputs, relative to their range.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.bench import record, timing
from jaxseg.models.classifier import Classifier

STRIDE = 32
PATCH, CONTEXT = 224, 96  # pixels: of a patch, and on each side of it, what its output depends on
CLASSES = 21


def scores(model: Classifier, variables: Any, images: Array) -> Float[Array, "b h w k"]:
    return model.apply(variables, images, train=False)[0]  # pyright: ignore[reportReturnType]


def patchwise(
    model: Classifier, variables: Any, image: Float[Array, "1 h w 3"], *, size: int, count: int
) -> Float[Array, "n n k"]:
    """The middle output of each of `count` x `count` patches, one patch at a time."""

    def patch_output(corner: Array) -> Array:
        start = (0, corner[0], corner[1], 0)
        out = scores(model, variables, jax.lax.dynamic_slice(image, start, (1, size, size, 3)))
        return out[0, out.shape[1] // 2, out.shape[2] // 2]

    corners = np.stack(np.meshgrid(*[np.arange(count) * STRIDE] * 2, indexing="ij"), axis=-1)
    found = jax.lax.map(patch_output, jnp.asarray(corners.reshape(-1, 2), jnp.int32))
    return found.reshape(count, count, -1)


def fully_convolutional(
    model: Classifier, variables: Any, image: Float[Array, "1 h w 3"], *, margin: int
) -> Float[Array, "n n k"]:
    """All outputs of the image but `margin` on every side."""
    inside = slice(margin, -margin or None)
    return scores(model, variables, image)[0, inside, inside]


def compare(
    model: Classifier, variables: Any, *, context: int, count: int, seconds: float
) -> dict[str, Any]:
    """Both methods to `count` x `count` outputs of patches with `context` pixels around them."""
    size = PATCH + 2 * context
    length = size + (count - 1) * STRIDE
    pixels = np.random.default_rng(0).normal(size=(1, length, length, 3))
    image = jnp.asarray(pixels, jnp.float32)
    methods = {
        "patchwise": functools.partial(patchwise, size=size, count=count),
        "fully_convolutional": functools.partial(fully_convolutional, margin=context // STRIDE),
    }
    calls, compilation, outputs = {}, {}, {}
    for name, function in methods.items():
        begin = time.perf_counter()
        compiled = jax.jit(functools.partial(function, model)).lower(variables, image).compile()
        compilation[name] = time.perf_counter() - begin
        outputs[name] = np.asarray(compiled(variables, image))
        calls[name] = functools.partial(_wait_for, compiled, variables, image)
    times = {
        name: timing.median(each)
        for name, each in timing.interleaved(calls, seconds=seconds, warm_up=1).items()
    }
    one, other = outputs.values()
    return {
        "patch": size,
        "image": length,
        "outputs": count**2,
        "seconds": times,
        "compilation_seconds": compilation,
        "ratio": times["patchwise"] / times["fully_convolutional"],
        "difference": float(np.abs(one - other).max() / np.ptp(other)),
    }


def _wait_for(compiled: Callable[..., Array], *arguments: Any) -> None:
    jax.block_until_ready(compiled(*arguments))


def measure(width_multiplier: float, count: int, seconds: float) -> dict[str, Any]:
    """Both comparisons, with VGG16 of this width."""
    width = max(1, round(4096 * width_multiplier))
    model = Classifier(
        CLASSES, "vgg16", width_multiplier=width_multiplier, fc_width=width, dropout=0.5
    )
    example = jnp.zeros((1, PATCH, PATCH, 3))
    variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(0), example)
    run = functools.partial(compare, model, variables, count=count, seconds=seconds)
    return {
        "width_multiplier": width_multiplier,
        "equal": run(context=CONTEXT),
        "as trained": run(context=0),
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--width_multiplier", type=float, default=0.25, help="of VGG16")
    parser.add_argument("--outputs", type=int, default=10, help="rows and columns of outputs")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each comparison, at least")
    parser.add_argument("--json", type=Path, help="where the results go")
    given = parser.parse_args(argv)
    results = measure(given.width_multiplier, given.outputs, given.seconds)
    for name in ("equal", "as trained"):
        found = results[name]
        patches, whole = found["seconds"].values()
        print(
            f"{name}: {found['outputs']} patches of {found['patch']} pixels {patches:.3g} s, an "
            f"image of {found['image']} pixels {whole:.3g} s: {found['ratio']:.1f} times as fast; "
            f"outputs differ by {found['difference']:.1e}"
        )
    if given.json:
        words = record.command_line("", argv).removeprefix("jaxseg ")
        record.write(given.json, f"python experiments/patchwise.py{words}", results)


if __name__ == "__main__":
    main(sys.argv[1:])
