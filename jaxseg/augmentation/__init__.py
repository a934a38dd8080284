"""Augmentation inside the training step, which `config.augment.on_device` moves there.

The host draws and plans as it always does (`jaxseg/data/transforms`) and sends whole images with
their plans (`jaxseg/data/pipeline/planned.py`). The warp and the colours are computed here, for
GPUs that outrun the host's cores. What comes out is what the host would have made, to rounding:

- Labels are equal. With elastic displacements or `rotate` one may differ where it is taken within
  a thousandth of a pixel from the middle between two pixels.
- Colours differ by at most one level of 0..255 after the warp, where a value falls between two. A
  change of colour then multiplies that by its factors, and rounds again.

This is so for OpenCV 5. OpenCV 4 rounds positions in an image to 1/32 pixel, and so differs from
both by up to 8 levels at the sharpest edges.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxseg.augmentation.colour import recolour
from jaxseg.augmentation.warp import at, bilinear, clamp, mirror, nearest_pixel, positions, within
from jaxseg.data.padding import mean_pixel
from jaxseg.defaults import Augment, Config
from jaxseg.errors import UserError

# Keys of `config.augment` that a plan's arrays hold; others are refused unless they are off.
KEYS = {
    "crop_size", "scale", "flip", "vertical_flip", "rotate90", "rotate", "brightness", "contrast",
    "saturation", "hue", "gamma", "grey", "blur", "elastic", "elastic_grid", "max_class_share",
    "class_balanced", "on_device",
}  # fmt: skip

Augmenting = Callable[[Mapping[str, Array]], dict[str, Array]]


def check(config: Config) -> None:
    """Raise UserError for what can't be computed on the device, if `on_device` asks for it."""
    if not config.augment.on_device:
        return
    others = {f.name: f.default for f in dataclasses.fields(config.augment) if f.name not in KEYS}
    wrong = [f"augment.{k}" for k, off in others.items() if getattr(config.augment, k) != off]
    if config.loss.border_weight:  # its map is measured on the augmented label
        wrong.append("loss.border_weight")
    if config.dataset.bits != 8:  # colours would not fit into 32 bits
        wrong.append(f"dataset.bits={config.dataset.bits}")
    if wrong:
        raise UserError(
            f"config.{wrong[0]} is for augmentation on the host alone: turn it off, or leave "
            "config.augment.on_device off"
        )


def bind(config: Config, *, void: int, context: int) -> Augmenting | None:
    """What `steps.train_step` does with a batch first; None where the host augments."""
    augment = config.augment
    if not augment.on_device:
        return None
    one = functools.partial(
        _augment_one,
        mean=mean_pixel(config.dataset.mean, config.dataset.bits),
        void=void,
        mirrored=context > 0,
        augment=augment,
    )
    return lambda batch: jax.vmap(one)(dict(batch))


def _augment_one(
    example: Mapping[str, Array],
    *,
    mean: UInt8[np.ndarray, " c"],
    void: int,
    mirrored: bool,
    augment: Augment,
) -> dict[str, Array]:
    """Image [H W c] and label [H W] of one example as `planned.plan_arrays` describes it."""
    size = example["size"]
    edge = functools.partial(mirror if mirrored else clamp, size=size)
    x, y = positions(example)
    inside = within(x, y, size)
    image = recolour(bilinear(example["image"], x, y, edge), inside, example, augment)
    if not mirrored:
        image = jnp.where(inside[..., None], image, mean.astype(image.dtype))
    label = at(example["label"], *edge(*nearest_pixel(example, x, y)))
    return {"image": image, "label": jnp.where(inside, label, void)}
