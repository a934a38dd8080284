import numpy as np
import pytest

from jaxseg.data import transforms
from jaxseg.data.transforms import Draw

PLAIN = Draw(1.0, (0.5, 0.5), False, False, 0, 1.0, 1.0, 1.0)


def mixed(ours, theirs, **changes):
    """The mixed label, whose image holds 1 where it is the partner's."""
    images = [
        np.full((*label.shape, 3), value, np.uint8) for value, label in enumerate((ours, theirs))
    ]
    drawn = Draw(**{**vars(PLAIN), **changes})
    return transforms.mix((images[0], ours), (images[1], theirs), drawn, 255)


def test_every_pixel_is_of_one_of_the_two():
    rng = np.random.default_rng(0)
    ours, theirs = (rng.choice([0, 1, 2, 3, 255], (30, 40)).astype(np.int32) for _ in range(2))
    for seed in range(20):
        changes = {"copy_paste": seed, "cutmix": tuple(rng.random(3))}
        image, label = mixed(ours, theirs, **changes)
        taken = image[..., 0] == 1
        np.testing.assert_array_equal(label, np.where(taken, theirs, ours))
        assert (image == image[..., :1]).all()


@pytest.mark.parametrize(
    ("drawn", "rows", "columns"),
    [
        ((0.25, 0.5, 0.5), (10, 30), (15, 45)),
        ((0.25, 0.0, 1.0), (0, 10), (45, 60)),  # cut off at a corner
        ((1.0, 0.5, 0.5), (0, 40), (0, 60)),
        ((0.0, 0.3, 0.3), (0, 0), (0, 0)),
    ],
)
def test_cutmix_takes_a_rectangle_of_the_drawn_area_and_centre(drawn, rows, columns):
    ours, theirs = np.zeros((40, 60), np.int32), np.full((40, 60), 255, np.int32)
    image, label = mixed(ours, theirs, cutmix=drawn)
    expected = np.zeros((40, 60), bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(label == 255, expected)  # void goes with its pixel
    np.testing.assert_array_equal(image[..., 0] == 1, expected)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_copy_paste_takes_half_of_the_classes_and_no_void(count):
    theirs = np.full((20, 20), 255, np.int32)
    theirs[:10] = np.arange(200).reshape(10, 20) % count + 3
    seen = np.zeros(count)
    for seed in range(400):
        image, _ = mixed(np.zeros((20, 20), np.int32), theirs, copy_paste=seed)
        taken = image[..., 0] == 1
        classes = np.unique(theirs[taken])
        assert len(classes) == (count + 1) // 2
        np.testing.assert_array_equal(taken, np.isin(theirs, classes))
        seen[classes - 3] += 1
    assert np.abs(seen / 400 - (count + 1) // 2 / count).max() < 0.1


def test_a_partner_of_void_alone_pastes_nothing():
    ours, theirs = np.zeros((8, 8), np.int32), np.full((8, 8), 255, np.int32)
    image, label = mixed(ours, theirs, copy_paste=0)
    assert not image.any()
    assert not label.any()
