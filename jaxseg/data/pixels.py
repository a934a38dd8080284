"""What the pixels of a data set's images are: how many channels, of how many bits.

`config.dataset.channels` and `config.dataset.bits` say it for training, evaluation and prediction
alike. On the host every image is an array [h, w, channels], uint8 in 0..255 or, of 16 bits, uint16
in 0..65535; `config.dataset.mean` and `std` have one value for each channel, in the same units.
The default, RGB of 8 bits, takes every photograph.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt, UInt8

from jaxseg.errors import UserError

MOST_CHANNELS = 128  # OpenCV's limit
_SCALE = 257  # 65535 / 255: full scale of 16 bits is that of 8


class ChannelsError(UserError):
    """An image has other channels than the config says, as all the others may."""


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """So many channels of so many bits, 8 or 16."""

    channels: int = 3
    bits: int = 8

    @classmethod
    def from_config(cls, dataset: Any) -> "PixelFormat":
        """What a config's `dataset` part says."""
        return cls(dataset.channels, dataset.bits)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def bytes(self) -> int:
        """That a pixel takes."""
        return self.channels * self.bits // 8

    def convert(self, pixels: UInt[np.ndarray, "h w _"], name: str) -> UInt[np.ndarray, "h w c"]:
        """An image in this format.

        - 1 channel is grey: RGB becomes its luma (ITU-R BT.601), alpha is dropped.
        - 3 are RGB: grey is repeated, alpha is dropped.
        - Any other number is what the image must have; alpha counts as one.

        Depths are scaled, 255 to 65535 and back.

        Args:
          pixels: uint8 or uint16.
          name: what the error calls the image.

        Raises:
          ChannelsError: it has other channels.
        """
        found = pixels.shape[-1]
        if self.channels == 1 and found in (3, 4):
            rgb = np.ascontiguousarray(pixels[..., :3])
            pixels = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))[..., None]
        elif self.channels == 3 and found in (1, 3, 4):
            pixels = np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3))
        elif found != self.channels:
            raise ChannelsError(
                f"{name}: {_channels(found)}, expected {_expected(self.channels)}: convert it, "
                f"or train with --config.dataset.channels={found} and as many values in "
                "dataset.mean and std"
            )
        return np.ascontiguousarray(self._with_depth(pixels))

    def _with_depth(self, pixels: np.ndarray) -> np.ndarray:
        if pixels.dtype == self.dtype:
            return pixels
        if self.bits == 8:
            return ((pixels.astype(np.int32) + _SCALE // 2) // _SCALE).astype(np.uint8)
        return pixels.astype(np.uint16) * np.uint16(_SCALE)


RGB = PixelFormat()


def check(dataset: Any) -> None:
    """Raise UserError unless bits, mean and std of a config's `dataset` part fit its channels."""
    channels, bits = dataset.channels, dataset.bits
    if bits not in (8, 16):
        raise UserError(
            f"config.dataset.bits is {bits}, expected 8, or 16 for files that store 9 to 16"
        )
    largest = 2**bits - 1
    for name in ("mean", "std"):
        if len(found := getattr(dataset, name)) != channels:
            begin = [
                f'--config.dataset.{key}="({f"{value:g}," * channels})"'
                for key, value in (("mean", largest / 2), ("std", largest / 4))
            ]
            raise UserError(
                f"config.dataset.{name} is {found}, expected one value for each channel, and "
                f"dataset.channels is {channels}: begin with {' '.join(begin)}; "
                "`jaxseg data stats` measures yours"
            )
    if max(dataset.mean) > largest:
        raise UserError(
            f"config.dataset.mean is {dataset.mean}, expected at most {largest}, the largest value "
            f"of dataset.bits={bits}"
        )


def stored_formats(formats: Iterable[PixelFormat]) -> list[str]:
    """A note on images that hold more than RGB of 8 bits; none if all are grey, RGB or RGBA."""
    others = [each for each in formats if each.bits > 8 or each.channels not in (1, 3, 4)]
    others.sort(key=lambda each: (each.channels, each.bits))
    if not others:
        return []
    told = " and ".join(f"{_channels(each.channels)} of {each.bits} bits" for each in others)
    return [f"there are images of {told}: dataset.channels and bits say what training sees"]


def _channels(count: int) -> str:
    return f"{count} channel" + "s" * (count != 1)


def _expected(channels: int) -> str:
    known = {1: "1 (grey, or RGB to be converted)", 3: "3 (RGB, or grey to be repeated)"}
    return known.get(channels, str(channels))


def displayed(image: UInt[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image as pictures show it: of 3 or more channels the first three, else the first as grey.

    16 bits are stretched so that the 2nd percentile of what is shown is black and the 98th white,
    for the eye alone.
    """
    shown = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (2, 98)).astype(np.float32)
        stretched = (shown.astype(np.float32) - low) * (255 / max(high - low, 1))
        shown = np.clip(stretched, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], 3)))
