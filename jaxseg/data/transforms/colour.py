"""Random changes of colour: a matrix, the hue, a power law, a blur; of any channels and depth.

Each rounds and clips to the range of the image's dtype.
"""

import math

import cv2
import numpy as np
from jaxtyping import UInt, UInt8

from jaxseg.data.transforms.geometry import Plan
from jaxseg.errors import UserError

GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601, as in torchvision's ColorJitter


def recolour(
    image: UInt[np.ndarray, "h w c"], inside: UInt8[np.ndarray, "h w"], plan: Plan
) -> UInt[np.ndarray, "h w c"]:
    """The image with all the changes of colour of a plan.

    Raises:
      UserError: a change of saturation or hue, and not three channels.
    """
    image = jitter(image, inside, plan)
    if plan.hue:
        image = turn_hue(image, plan.hue)
    if plan.gamma != 1:
        image = bend(image, plan.gamma)
    return blur(image, plan.blur) if plan.blur else image


def jitter(
    image: UInt[np.ndarray, "h w c"], inside: UInt8[np.ndarray, "h w"], plan: Plan
) -> UInt[np.ndarray, "h w c"]:
    """Brightness, contrast and saturation as torchvision defines them, in that order.

    All three are affine in the colour, so they are one matrix: rounded and clipped once. Contrast
    moves to the mean grey of RGB; of other channels, each moves to its own mean. Means are of the
    pixels inside the image.
    """
    if plan.brightness == plan.contrast == plan.saturation == 1:
        return image
    channels = image.shape[2]
    mean = np.array([cv2.mean(channel, inside)[0] for channel in cv2.split(image)])
    saturate = np.eye(channels)
    if channels == 3:
        mean = np.full(3, GREY @ mean)
        saturate = plan.saturation * saturate + (1 - plan.saturation) * np.tile(GREY, (3, 1))
    elif plan.saturation != 1:
        _refuse("saturation or grey", channels)
    # saturation leaves the mean grey alone that contrast moves to
    matrix = plan.contrast * plan.brightness * saturate
    constant = (1 - plan.contrast) * plan.brightness * mean
    return cv2.transform(image, np.column_stack([matrix, constant])).reshape(image.shape)


def turn_hue(image: UInt[np.ndarray, "h w c"], turns: float) -> UInt[np.ndarray, "h w c"]:
    """RGB with its hue in HSV moved along the circle, as torchvision's adjust_hue.

    Saturation and value stay. A third of a turn makes red green, green blue and blue red.
    """
    if image.shape[2] != 3:
        _refuse("hue", image.shape[2])
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)  # hue in 0..360
    hue = hsv[..., 0] + np.float32(360 * (turns % 1))
    hsv[..., 0] = hue - np.float32(360) * (hue >= 360)  # a tenth of the time of %
    # no value leaves the dtype's range: each is between 0 and the pixel's largest
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).astype(image.dtype)


def bend(image: UInt[np.ndarray, "h w c"], exponent: float) -> UInt[np.ndarray, "h w c"]:
    """Gamma: x^exponent, where 0 is the darkest value and 1 the brightest, which both stay.

    As nnU-Net does it (Isensee et al. 2021, batchgenerators' augment_gamma with one range for all
    channels): 12 bits stored in 16 are bent like 8 bits in 8.
    """
    low, high = int(image.min()), int(image.max())
    if low == high:
        return image
    table = np.zeros(high + 1)
    shares = np.linspace(0, 1, high - low + 1)
    table[low:] = low + (high - low) * shares**exponent
    return np.rint(table).astype(image.dtype)[image]


def blur(image: UInt[np.ndarray, "h w c"], sigma: float) -> UInt[np.ndarray, "h w c"]:
    """Gaussian of standard deviation `sigma` in pixels, cut off at 3 of them.

    Beyond the edge is the mirror image.
    """
    side = 2 * math.ceil(3 * sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma).reshape(image.shape)


def _refuse(what: str, channels: int) -> None:
    raise UserError(
        f"config.augment changes {what}, and the images have {channels} channels, not 3: "
        "set hue, saturation and grey to 0"
    )
