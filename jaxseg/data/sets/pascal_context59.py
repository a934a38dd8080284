"""PASCAL-Context, 59 classes; all others are void."""

from jaxseg.data.palettes import default_palette
from jaxseg.data.sets.pascal_context import NUMBERS, PascalContext
from jaxseg.data.source import Classes


class PascalContext59(PascalContext):
    """`pascal_context` without its background: what is none of the 59 classes is not counted."""

    CLASSES = Classes(tuple(NUMBERS), default_palette(tuple(NUMBERS)))
    REST = CLASSES.void


Builder = PascalContext59
