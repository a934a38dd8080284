"""Copies are known again, whatever happened to them; different images are not taken for them."""

import cv2
import numpy as np

from jaxseg.data.fingerprints import fingerprint, matches
from jaxseg.data.sets.shapes import draw_scene

SCENES = [draw_scene(np.random.default_rng(i), (120, 160))[0] for i in range(40)]


def recompressed(image, quality):
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


CHANGES = {
    "recompressed": lambda image: recompressed(image, 40),
    "half as large": lambda image: cv2.resize(image, (80, 60), interpolation=cv2.INTER_AREA),
    "larger": lambda image: cv2.resize(image, (300, 220)),
    "brighter": lambda image: np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8),
    "in less contrast": lambda image: (image * 0.7).astype(np.uint8),
    "in grey": lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, -1),
}


def test_copies_are_identical_and_changed_ones_near():
    first = [fingerprint(image) for image in SCENES[:20]]
    for change in CHANGES.values():
        second = [fingerprint(change(SCENES[i])) for i in (3, 11)]
        second += [fingerprint(image) for image in SCENES[20:]]
        second.append(fingerprint(SCENES[7].copy()))
        assert [*matches(first, second)] == [(3, 0, False), (11, 1, False), (7, 22, True)]


def test_images_of_other_channels_and_depths_are_told_apart_as_well():
    """Dim ones, too: 12 bits in 16 have values up to 4095."""
    deep = [np.dstack([image, image[..., :2]]).astype(np.uint16) * 16 for image in SCENES[:12]]
    darker = (deep[3] * 0.8).astype(np.uint16)
    first, second = ([fingerprint(x) for x in images] for images in (deep[:6], [darker, *deep[5:]]))
    assert [*matches(first, second)] == [(3, 0, False), (5, 1, True)]
    grey = [fingerprint(image[..., :1]) for image in SCENES[:6]]
    assert [*matches(grey[:3], grey[2:])] == [(2, 0, True)]


def test_flat_images_are_alike_only_if_identical():
    flat = [np.full((30, 40, 3), value, np.uint8) for value in (0, 0, 9)]
    prints = [fingerprint(image) for image in flat]
    assert [*matches(prints[:1], prints)] == [(0, 0, True), (0, 1, True)]
    faint = []
    for value in (40, 41):  # one grey level in a corner is no structure
        image = np.full((64, 64, 3), value, np.uint8)
        image[:9, :9] += 1
        faint.append(fingerprint(image))
    assert [*matches(faint[:1], faint[1:])] == []
    assert [*matches(prints, [])] == [*matches([], prints)] == []


def test_many_are_compared_in_blocks(monkeypatch):
    from jaxseg.data import fingerprints

    first, second = ([fingerprint(image) for image in SCENES[i:]] for i in (0, 5))
    changed = [fingerprint(recompressed(image, 50)) for image in SCENES[5:]]
    assert len([*matches(first, second)]) == 35
    whole = [*matches(first, changed)]
    monkeypatch.setattr(fingerprints, "_BLOCK", 7)
    assert [*matches(first, changed)] == whole == [(j + 5, j, False) for j in range(35)]
