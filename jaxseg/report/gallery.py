"""A gallery of images with their truth, predictions and errors, drawn by page.js.

Labels travel as bytes: class indices, void last, deflated and in base64. page.js draws them on
canvases and never reads a canvas back, which alters colours in browsers that guard against
fingerprinting.
"""

import base64
import dataclasses
import io
import json
import math
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int, UInt
from PIL import Image

from jaxseg.data.pixels import displayed
from jaxseg.data.source import Classes
from jaxseg.drawing import dense, widened
from jaxseg.report.tables import swatch

PIXELS = 480 * 360  # of an image on the page at most
LAYER_BYTES = 60_000  # of an image or a label map on the page, on average over an item


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What one model made of an image; the note, such as its score, stands beside the name."""

    name: str
    note: str
    labels: Int[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True)
class Item:
    """An image, its truth, and one or more predictions."""

    name: str
    image: UInt[np.ndarray, "h w c"]
    truth: Int[np.ndarray, "h w"]
    predictions: Sequence[Prediction]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """An item as it travels: a JPEG and deflated labels in base64, all of one size."""

    width: int
    height: int
    image: str
    truth: str
    predictions: list[str]

    @property
    def size(self) -> int:
        """Bytes on the page."""
        return len(self.image) + len(self.truth) + sum(map(len, self.predictions))


def gallery(groups: Sequence[tuple[str, Sequence[Item]]], classes: Classes) -> str:
    """Groups of items under their headings, with a slider and a switch for each class."""
    encoded, parts = [], []
    for title, items in groups:
        cards = []
        for item in items:
            small = encode(item, classes)
            cards.append(_card(item, small, len(encoded)))
            encoded.append(small)
        parts.append(f"<h3>{escape(title)}</h3>{''.join(cards)}")
    data = {
        "wide": _dtype(classes).itemsize == 2,
        "colours": classes.palette,
        "background": classes.background,
        "items": [{"truth": item.truth, "predictions": item.predictions} for item in encoded],
    }
    return (
        f'<div class="gallery" id="gallery">{_controls(classes)}{"".join(parts)}</div>'
        f"{_script_data('gallery-data', data)}"
    )


def encode(item: Item, classes: Classes) -> Encoded:
    """The item in PIXELS and, with one layer for each picture, LAYER_BYTES a layer, or fewer.

    Labels that deflate badly, as noise does, are made smaller until they fit.
    """
    height, width = item.truth.shape
    scale = min(1.0, math.sqrt(PIXELS / (height * width)))
    most = LAYER_BYTES * (2 + len(item.predictions))
    while True:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        encoded = Encoded(
            *size,
            _jpeg(item.image, size),
            pack(item.truth, classes, size),
            [pack(prediction.labels, classes, size) for prediction in item.predictions],
        )
        if encoded.size <= most or size == (1, 1):
            return encoded
        scale *= 0.9


def pack(labels: Int[np.ndarray, "h w"], classes: Classes, size: tuple[int, int]) -> str:
    """Labels at (width, height) as base64 of deflated little-endian integers, void last.

    Thin objects are widened before they are reduced, or most of their pixels would be left out.
    """
    label = dense(labels, classes)
    if size != label.shape[::-1]:
        label = widened(label, classes, label.shape[1] // (2 * size[0]))
        label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
    packed = zlib.compress(label.astype(_dtype(classes)).tobytes(), 9)
    return base64.b64encode(packed).decode()


def unpack(text: str, classes: Classes, size: tuple[int, int]) -> Int[np.ndarray, "h w"]:
    """What `pack` packed, as page.js does it."""
    flat = np.frombuffer(zlib.decompress(base64.b64decode(text)), _dtype(classes)).astype(np.int32)
    return np.where(flat == len(classes), classes.void, flat).reshape(size[::-1])


def _dtype(classes: Classes) -> np.dtype:
    return np.dtype("<u2" if len(classes) > 255 else "u1")


def _jpeg(image: UInt[np.ndarray, "h w c"], size: tuple[int, int]) -> str:
    image = displayed(image)
    if size != image.shape[1::-1]:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85, subsampling=0)
    return base64.b64encode(file.getvalue()).decode()


def _controls(classes: Classes) -> str:
    switches = "".join(
        _switch(i, '<span class="swatch"></span>', f"{name} (not painted)")
        if i == classes.background
        else _switch(i, swatch(classes.palette[i]), name)
        for i, name in enumerate(classes.names)
    )
    void = _switch(len(classes), '<span class="swatch void"></span>', "void (never counts)")
    return (
        '<div class="controls"><div class="sliders">'
        '<label>Opacity of labels <input type="range" id="opacity" min="0" max="100" value="75">'
        '<output for="opacity">75 %</output></label>'
        '<label>Size of pictures <input type="range" id="zoom" min="140" max="560" step="20" '
        'value="260"></label></div>'
        '<fieldset class="switches"><legend>Classes shown</legend>'
        '<button type="button" data-all="1">all</button>'
        f'<button type="button" data-all="">none</button>{switches}{void}</fieldset>'
        '<p class="key">In "errors", wrong pixels are <span class="swatch error"></span>pink where '
        "their true class is shown; right ones keep the grey image.</p>"
        '<noscript><p class="note">The labels are drawn by JavaScript, which is off.</p></noscript>'
        '<p class="note" id="gallery-trouble" role="alert"></p></div>'
    )


def _switch(index: int, box: str, text: str) -> str:
    return (
        f'<label class="switch"><input type="checkbox" checked data-class="{index}">'
        f"{box}{escape(text)}</label>"
    )


def _card(item: Item, small: Encoded, number: int) -> str:
    height, width = item.truth.shape
    size = f"{width} x {height} pixels"
    if (small.width, small.height) != (width, height):
        share = f"{100 * small.width / width:.0f} %"
        size += f", shown at {small.width} x {small.height} ({share} of the width)"
    name, count = escape(item.name), len(item.predictions)
    photo = (
        f'<img src="data:image/jpeg;base64,{small.image}" width="{small.width}" '
        f'height="{small.height}" alt="{name}">'
    )
    panels = [_panel(photo, "image"), _panel(_canvas(small, number, "truth", item.name), "truth")]
    for i, prediction in enumerate(item.predictions):
        suffix = f" of {prediction.name}" if count > 1 else ""
        drawn = _canvas(small, number, "prediction", f"{item.name}{suffix}", i)
        panels.append(_panel(drawn, prediction.name, prediction.note))
        wrong = _canvas(small, number, "errors", f"{item.name}{suffix}", i)
        panels.append(_panel(wrong, f"errors{suffix}"))
    return (
        f'<article class="item"><h4>{name}</h4><p class="note">{size}</p>'
        f'<div class="panels">{"".join(panels)}</div></article>'
    )


def _panel(content: str, name: str, note: str = "") -> str:
    more = f'<span class="note">{escape(note)}</span>' if note else ""
    return (
        f'<figure class="panel"><div class="picture">{content}</div>'
        f"<figcaption>{escape(name)}{more}</figcaption></figure>"
    )


def _canvas(small: Encoded, number: int, kind: str, name: str, i: int = 0) -> str:
    return (
        f'<canvas width="{small.width}" height="{small.height}" data-item="{number}" '
        f'data-kind="{kind}" data-prediction="{i}" role="img" '
        f'aria-label="{escape(f"{kind}: {name}")}"></canvas>'
    )


def _script_data(name: str, value: Any) -> str:
    """JSON for page.js. Numbers and base64: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"))
    return f'<script type="application/json" id="{name}">{text}</script>'
