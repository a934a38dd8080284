"""What every transform keeps: a pixel's colour belongs to its label."""

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.data import transforms

OPTIONS = {
    "scale": (0.7, 1.5), "flip": True, "vertical_flip": True, "rotate90": True, "rotate": 180.0,
    "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.5, "gamma": 0.6, "grey": 0.5,
    "blur": 1.0, "elastic": 3.0, "max_class_share": 0.4, "class_balanced": 1.0, "cutmix": 1.0,
    "copy_paste": 1.0,
}  # fmt: skip
OF_COLOUR = {"brightness", "contrast", "saturation", "hue", "gamma", "grey"}
OF_RGB = {"saturation", "hue", "grey"}
CROP, VOID = (64, 56), 255
BLOCK, REACH = 20, 4  # pixels: a side of a block of one class, and where other colours may reach


class Encoded:
    """Four pairs of blocks in their classes' colours; no class is in two of them."""

    def __init__(self, channels, dtype):
        one = np.iinfo(dtype).max // 255
        colours = np.random.default_rng(0).integers(40, 220, (16, channels))
        self.colours = (one * colours).astype(dtype)
        self.tolerance, self.mean = one, np.full(channels, 7, dtype)

    def pair(self, index):
        blocks = (5, 4) if index % 2 else (4, 5)
        chosen = 4 * index + np.random.default_rng(index).integers(0, 4, blocks)
        label = chosen.repeat(BLOCK, 0).repeat(BLOCK, 1).astype(np.int32)
        return self.colours[label], label

    def augmented(self, index, seed, augment):
        drawn = transforms.draw(np.random.default_rng((seed, index)), augment)
        options = {"crop_size": CROP, "mean": self.mean, "void": VOID}
        pair = transforms.apply(*self.pair(index), drawn, **options)
        return drawn, pair

    def mixed(self, index, seed, augment):
        drawn, pair = self.augmented(index, seed, augment)
        if drawn.mixes:
            partner = self.augmented(int(4 * drawn.partner), seed, augment)[1]
            pair = transforms.mix(pair, partner, drawn, VOID)
        return pair

    def check(self, image, label, keeps_colour):
        around = {"size": 2 * REACH + 1, "mode": "constant", "cval": VOID}
        inner = ndimage.minimum_filter(label, **around) == ndimage.maximum_filter(label, **around)
        for index in np.unique(label[inner & (label != VOID)]):
            pixels = image[inner & (label == index)].astype(int)
            assert np.ptp(pixels, axis=0).max() <= self.tolerance
            if keeps_colour:
                assert np.abs(pixels - self.colours[index]).max() <= self.tolerance


@pytest.fixture(params=[(3, np.uint8), (1, np.uint8), (5, np.uint16)], ids=str)
def encoded(request):
    return Encoded(*request.param)


@pytest.mark.parametrize("option", ["none", *OPTIONS, "all"])
def test_colours_stay_with_their_labels(option, encoded, make_augment):
    """Away from the classes' edges all pixels of a class have one colour, for its example's draw.

    As no class is in two images, that holds after mixing too.
    """
    impossible = OF_RGB if len(encoded.mean) != 3 else set()
    chosen = set(OPTIONS) - impossible if option == "all" else {option} & set(OPTIONS)
    if chosen & impossible:
        pytest.skip("needs three channels")
    augment = make_augment(crop_size=CROP, **{name: OPTIONS[name] for name in chosen})
    shares = []
    for seed in range(6):
        for index in range(4):
            image, label = encoded.mixed(index, seed, augment)
            assert image.dtype == encoded.colours.dtype
            encoded.check(image, label, keeps_colour=not chosen & OF_COLOUR)
            shares.append((label != VOID).mean())
    assert np.mean(shares) > 0.6
