"""The gallery's data: labels come back as they were, and it stays small."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.report.gallery import Item, Prediction, encode, gallery, pack, unpack

CLASSES = Classes(("<b>&", "cell", "rim"), voc_palette(3))


def item(labels, name="a", predictions=1, image=None):
    if image is None:
        image = np.zeros((*labels.shape, 3), np.uint8)
    made = [Prediction(f"row {i}", f"note {i}", labels) for i in range(predictions)]
    return Item(name, image, labels, made)


@pytest.mark.parametrize(("count", "void"), [(3, 255), (255, 255), (256, 300), (1000, 65535)])
def test_labels_come_back_as_they_were(count, void):
    classes = Classes(tuple(map(str, range(count))), voc_palette(count), void)
    labels = np.random.default_rng(0).integers(0, count, (7, 5)).astype(np.int32)
    labels[0] = 0, count - 1, void, 0, void
    assert (unpack(pack(labels, classes, (5, 7)), classes, (5, 7)) == labels).all()


def photograph(rng, height, width):
    """Something like a street: blobs of colour with grain."""
    small = rng.integers(0, 256, (height // 24, width // 24, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height)), np.int16)
    return np.clip(smooth + rng.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [False, True])
def test_24_images_of_480x360_stay_below_5_mb(noise):
    """Also where labels are noise, which nothing makes small: then they are shown smaller."""
    rng = np.random.default_rng(0)
    classes = Classes(tuple(map(str, range(150))), voc_palette(150))
    image = photograph(rng, 360, 480)
    labels = rng.integers(0, 150, (360, 480) if noise else (15, 20)).astype(np.int32)
    labels = labels if noise else labels.repeat(24, 0).repeat(24, 1)
    items = [item(labels, str(i), image=image) for i in range(24)]
    html = gallery([("Best images", items)], classes)
    assert len(html) < 4.8e6  # the rest of a page takes its share
    assert ("shown at" in html) == noise


def test_large_images_are_shown_smaller_and_it_is_said():
    labels = np.zeros((1024, 2048), np.int32)
    labels[:, 1024:] = 2
    big = item(labels, image=np.full((1024, 2048, 3), 7, np.uint8))
    small = encode(big, CLASSES)
    assert small.width * small.height <= 1.01 * 480 * 360
    assert abs(small.width / small.height - 2) < 0.02
    seen = unpack(small.truth, CLASSES, (small.width, small.height))
    assert np.unique(seen).tolist() == [0, 2]  # no label between them
    assert abs((seen == 2).mean() - 0.5) < 0.01
    photo = Image.open(io.BytesIO(base64.b64decode(small.image)))
    assert photo.size == (small.width, small.height)
    text = f"2048 x 1024 pixels, shown at {small.width} x {small.height} (29 % of the width)"
    assert text in gallery([("Best", [big])], CLASSES)


def test_small_images_keep_their_size():
    html = gallery([("Best", [item(np.zeros((9, 12), np.int32))])], CLASSES)
    assert "12 x 9 pixels<" in html


def test_an_item_has_a_panel_for_each_prediction_and_its_errors():
    items = [item(np.zeros((2, 2), np.int32), predictions=count) for count in (1, 3)]
    html = gallery([("One", items[:1]), ("Three", items[1:])], CLASSES)
    first, second = re.findall("<article.*?</article>", html)
    kinds = [
        re.findall('data-kind="([a-z]+)" data-prediction="(.)"', each) for each in (first, second)
    ]
    assert kinds[0] == [("truth", "0"), ("prediction", "0"), ("errors", "0")]
    assert [kind for kind, _ in kinds[1]] == ["truth", *["prediction", "errors"] * 3]
    assert [number for _, number in kinds[1]] == ["0", "0", "0", "1", "1", "2", "2"]
    assert "errors<" in first
    assert "errors of row 2<" in second
    data = json.loads(re.findall('id="gallery-data">(.*?)</script>', html)[0])
    assert [len(each["predictions"]) for each in data["items"]] == [1, 3]
    assert data["wide"] is False


def test_names_are_text():
    labels = np.zeros((2, 2), np.int32)
    evil = Item('</script>"<i>', np.zeros((2, 2, 3), np.uint8), labels,
                [Prediction("<u>", "<s>", labels)])  # fmt: skip
    html = gallery([("<h1>", [evil])], CLASSES)
    assert not re.search("<(b|i|u|s|h1)>", html)
    assert html.count("</script>") == 1
    assert "&lt;b&gt;&amp; (not painted)</label>" in html


def test_thin_objects_are_not_lost_when_an_image_is_shown_smaller():
    labels = np.zeros((900, 1000), np.int32)
    labels[:, 50::97] = 1
    labels[33::101] = 2
    small = encode(item(labels), CLASSES)
    seen = unpack(small.truth, CLASSES, (small.width, small.height))
    assert small.width < 500
    assert (np.isin(seen, (1, 2)).mean(0) > 0.95).sum() >= len(range(50, 1000, 97))
    assert ((seen == 2).mean(1) > 0.7).sum() >= len(range(33, 900, 101))


def test_the_switch_of_a_background_has_no_colour():
    """Black has no place in the legend if nothing is painted black."""
    labels = [item(np.zeros((2, 2), np.int32))]
    html = gallery([("Best", labels)], CLASSES)
    assert "background:rgb(0,0,0)" not in html
    assert '"background":0,' in html
    painted = Classes(CLASSES.names, CLASSES.palette[::-1])
    html = gallery([("Best", labels)], painted)
    assert "not painted" not in html
    assert "background:rgb(0,0,0)" in html
    assert '"background":null,' in html


def test_every_class_and_void_has_a_switch():
    html = gallery([("Best", [item(np.zeros((2, 2), np.int32))])], CLASSES)
    assert re.findall('checked data-class="(.)"', html) == ["0", "1", "2", "3"]
