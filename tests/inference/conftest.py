"""Views and windows of an image again, slowly, in NumPy."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, special


@pytest.fixture(scope="session")
def reference():
    """The probabilities of an image by its views, in NumPy, from (model, apply) of `one_conv`."""
    return _reference


def _reference(model, apply, image, size, views):
    """Arguments: the padded, normalised image and its size without padding."""
    turns = (False, True)[: 1 + views.flip]
    found = [
        _one_view(model, apply, image, size, views, scale, turn)
        for scale in views.scales
        for turn in turns
    ]
    return np.mean(found, 0)


def _one_view(model, apply, image, size, views, scale, turn):
    seen, new = _rescaled(np.asarray(image, np.float64), size, scale, model)
    corners, rows, columns = model.corners, *image.shape[:2]
    if model.context:
        own = seen[: new[0], : new[1]]
        own = own[:, ::-1] if turn else own
        c = model.context
        mirrored = np.pad(own, ((c, c), (c, c), (0, 0)), mode="reflect")
        logits = _logits(apply, mirrored)
        logits = logits[:, ::-1] if turn else logits
        at = [_on(side, scale, corners) for side in size]
        valid = special.softmax(_at_places(logits, *at) / views.temperature, -1)
        ends = [(0, n - m) for n, m in zip(image.shape[:2], size, strict=True)]
        return np.pad(valid, [*ends, (0, 0)])
    total, weight = np.zeros((rows, columns, model.num_classes)), np.zeros((rows, columns, 1))
    for (top, height), (left, width) in itertools.product(
        *(_windows(n, w, views.overlap) for n, w in zip(seen.shape[:2], views.window, strict=True))
    ):
        part = seen[top : top + height, left : left + width]
        logits = _logits(apply, part[:, ::-1] if turn else part)
        logits = logits[:, ::-1] if turn else logits
        at = [_on(rows, scale, corners) - top, _on(columns, scale, corners) - left]
        places = [
            _on_logits(p, whole, count, corners)
            for p, whole, count in zip(at, (height, width), logits.shape[:2], strict=True)
        ]
        here = special.softmax(_at_places(logits, *places) / views.temperature, -1)
        share = np.outer(
            _share(at[0], height, views, seen.shape[0], top),
            _share(at[1], width, views, seen.shape[1], left),
        )[..., None]
        total, weight = total + share * here, weight + share
    return total / weight


def _logits(apply, image):
    return np.asarray(apply(np.asarray(image, np.float32)[None])[0])


def _windows(side, window, overlap):
    """(start, length) of each."""
    if not window or window >= side:
        return [(0, side)]
    starts, step = [0], round(window * (1 - overlap))
    while starts[-1] + window < side:
        starts.append(min(starts[-1] + step, side - window))
    return [(start, window) for start in starts]


def _share(at, window, views, side, start):
    """How much a window's pixels count, those beyond the image's last ones as these do."""
    at = np.clip(at, -start, side - 1 - start)
    weight = np.ones(len(at))
    if views.window_weights == "gaussian":
        weight = np.exp(-((at - (window - 1) / 2) ** 2) / (2 * (window / 8) ** 2))
    return np.where((at >= -0.5) & (at < window - 0.5), weight, 0)


def _rescaled(image, size, scale, model):
    """A padded image, rescaled and padded anew with zeros, and its size without padding."""
    if scale == 1:
        return image, size
    extra = model.corners == "aligned"
    cover = [
        [int(np.ceil(round((n - extra) * scale, 6))) + extra for n in sides]
        for sides in (image.shape[:2], size)
    ]
    sides, new = cover
    if not model.context:
        sides = [int(np.ceil((n - extra) / model.stride)) * model.stride + extra for n in sides]
    own = _at_places(image[: size[0], : size[1]], *(_on(n, 1 / scale, model.corners) for n in new))
    return np.pad(own, [(0, n - m) for n, m in zip(sides, new, strict=True)] + [(0, 0)]), new


def _on(side, scale, corners):
    """Where a side's pixels lie once it is rescaled."""
    j = np.arange(side)
    return (j + 0.5) * scale - 0.5 if corners == "half_pixel" else j * scale


def _on_logits(at, whole, count, corners):
    if corners == "half_pixel":
        return (at + 0.5) * count / whole - 0.5
    return at * (count - 1) / max(whole - 1, 1)


def _at_places(image, rows, columns):
    """[h, w, c] at rows and columns, bilinear, the border repeated."""
    grid = np.meshgrid(rows, columns, indexing="ij")
    planes = np.moveaxis(np.asarray(image, np.float64), -1, 0)
    found = [ndimage.map_coordinates(plane, grid, order=1, mode="nearest") for plane in planes]
    return np.stack(found, -1)
