"""Pictures of what a check of the data found, to be looked at."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt
from PIL import Image, ImageDraw, ImageFont

from jaxseg.data.audit import Split
from jaxseg.data.faults import Fault
from jaxseg.data.images import read_image
from jaxseg.data.mask_files import mask_pixels
from jaxseg.data.palettes import voc_palette
from jaxseg.data.pixels import displayed
from jaxseg.data.verdict import Finding
from jaxseg.drawing import grid
from jaxseg.errors import UserError

MOST = 12  # rows
SIDE = 240  # pixels of a cell's longer side


def draw_findings(found: Sequence[Finding]) -> Image.Image | None:
    """A row for each suspect pair or example, of every kind some; None if there is none."""
    with_rows = [finding.suspects for finding in found if finding.suspects]
    if not with_rows:
        return None
    most = max(1, MOST // len(with_rows))
    rows = [row for suspects in with_rows for row in suspects[:most]]
    return grid([[_cell(*place) for place in row] for row in rows[:MOST]])


def draw_faults(faults: Iterable[Fault]) -> Image.Image | None:
    """A row for each image whose mask can't be used, with the mask's values as colours."""
    rows = []
    for fault in faults:
        cells = [cell for path in fault.files if (cell := _file_cell(path, fault)) is not None]
        if cells:
            rows.append(cells)
    return grid(rows[:MOST]) if rows else None


def _cell(split: Split, index: int) -> Image.Image:
    example = split.source[index]
    return _captioned(example["image"], f"{split.name}: {example['name']}")


def _file_cell(path: Path, fault: Fault) -> Image.Image | None:
    is_image = path == fault.files[0]
    try:
        if is_image:
            return _captioned(read_image(path, str(path), None), path.name)
        pixels = mask_pixels(path.read_bytes(), str(path), drop_alpha=True)
    except (UserError, OSError):
        return None  # which the text says
    if pixels.ndim == 2:
        pixels = np.array(voc_palette(256), np.uint8)[pixels % 256]
    return _captioned(pixels.astype(np.uint8), path.name)


def _captioned(pixels: UInt[np.ndarray, "_ _ c"], text: str) -> Image.Image:
    picture = Image.fromarray(displayed(pixels))
    factor = SIDE / max(picture.size)
    size = [max(1, round(side * factor)) for side in picture.size]
    picture = picture.resize((size[0], size[1]), Image.Resampling.BOX)
    whole = Image.new("RGB", (max(SIDE, picture.width), picture.height + 18), "white")
    whole.paste(picture, (0, 18))
    font = ImageFont.load_default(12)
    ImageDraw.Draw(whole).text((2, 9), text[-40:], "black", font, anchor="lm")
    return whole
