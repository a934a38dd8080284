"""The 1000 classes of ImageNet (ILSVRC 2012), which its classifiers were trained on.

They have the order of their WordNet IDs, as in torchvision, timm and Keras, and the first name that
WordNet gives each; "crane bird" and "maillot tank suit" tell two pairs apart. TF-Slim's networks
have a background before them.
"""

import functools
from pathlib import Path

from jaxseg.data.palettes import default_palette
from jaxseg.data.source import Classes

_NAMES = Path(__file__).with_name("imagenet_names.txt")
VOID = 65535  # no pixel has it; 255 is a class


@functools.cache
def classes(*, background: bool = False) -> Classes:
    """The 1000 classes; 1001 with TF-Slim's background as class 0."""
    names = (*["background"] * background, *_NAMES.read_text().splitlines())
    return Classes(names, default_palette(names), VOID)
