import numpy as np
import pytest

from jaxseg.data import transforms


@pytest.mark.parametrize("room", [-4, 4, 1, -63, 0])
def test_every_position_is_equally_likely(room):
    offset = np.random.default_rng(0).random(100_000)
    places = np.sign(room) * transforms.position(np.full(offset.shape, room), offset)
    observed = np.bincount(places)
    assert len(observed) == abs(room) + 1
    expected = len(places) / len(observed)
    chi_square = ((observed - expected) ** 2 / expected).sum()  # its mean: abs(room)
    assert chi_square <= abs(room) + 4 * np.sqrt(2 * abs(room))


@pytest.mark.parametrize(("side", "crop_side"), [(12, 8), (8, 12)])
def test_crops_take_their_positions_in_equal_shares_of_the_offset(
    side, crop_side, random_pair, run
):
    image, label = random_pair(side, side)
    padding = max(crop_side - side, 0)
    padded = np.pad(label, padding, constant_values=255)
    for place in range(5):
        for offset in (place / 5 + 0.01, place / 5 + 0.19):
            out = run(image, label, (crop_side, crop_side), offset=(offset, 1 - offset))[1]
            rows, columns = (place, 4 - place) if side > crop_side else (4 - place, place)
            expected = padded[rows : rows + crop_side, columns : columns + crop_side]
            np.testing.assert_array_equal(out, expected)


def test_without_its_context_a_crop_lies_where_one_without_lies(random_pair, run):
    image, label = random_pair(20, 30)
    for offset in ((0.0, 0.0), (0.25, 1.0)):
        out_image, out_label = run(image, label, (14, 16), context=3, offset=offset)
        want_image, want_label = run(image, label, (8, 10), offset=offset)
        np.testing.assert_array_equal(out_image[3:-3, 3:-3], want_image)
        np.testing.assert_array_equal(out_label[3:-3, 3:-3], want_label)


def test_crop_copies_a_window(random_pair, run):
    image, label = random_pair(20, 30)
    out_image, out_label = run(image, label, (8, 10), offset=(0.25, 1.0))
    np.testing.assert_array_equal(out_image, image[3:11, 20:30])
    np.testing.assert_array_equal(out_label, label[3:11, 20:30])


def test_a_crop_that_one_class_fills_is_tried_again(run):
    """Columns 0..31 hold class 0, the next 8 class 1, the rest void."""
    label = np.zeros((20, 50), np.int32)
    label[:, 32:40], label[:, 40:] = 1, 255
    image = np.tile(np.arange(50, dtype=np.uint8)[:, None], (20, 1, 3))  # its columns' numbers

    def first_column(tries, share, **options):
        first, *others = [(0.5, (column + 0.5) / 35) for column in tries]
        out = run(
            image, label, (20, 16), offset=first, other_offsets=tuple(others),
            max_class_share=share, **options,
        )[0]  # fmt: skip
        return out[0, 0, 0]

    assert first_column([3, 22, 24], 0.75) == 22  # 10 of 16 are class 0
    assert first_column([20, 22, 24], 0.75) == 20  # 12 of 16 are exactly the limit
    assert first_column([19, 22, 24], 0.75) == 22
    assert first_column([34, 33, 30], 0.99) == 30  # void does not count, which would be 10 of 16
    assert first_column([30, 24], 0.75) == 24  # 8 of the 10 valid ones are class 1
    assert first_column([30, 24], 0.8) == 30
    assert first_column([3, 4, 5], 0.75) == 5  # none fits: the last
    assert first_column([3, 22], 0.75, elastic=np.zeros((3, 3, 2))) == 22
    label[:] = 255
    assert run(image, label, (20, 16), other_offsets=((0.0, 0.0),), max_class_share=0.5)[1].all()


def test_the_border_without_logits_does_not_count(run):
    label = np.ones((30, 30), np.int32)
    label[12:18, 12:18] = np.arange(6) % 2 + 2
    options = {"other_offsets": ((0.0, 0.0),), "max_class_share": 0.5}
    still = run(label[..., None].astype(np.uint8), label, (14, 14), 4, **options)[1]
    np.testing.assert_array_equal(still, label[8:22, 8:22])  # half of class 2, half of class 3
    again = run(label[..., None].astype(np.uint8), label, (14, 14), 0, **options)[1]
    np.testing.assert_array_equal(again, label[:14, :14])


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("scale", [1.0, 1.9])
def test_a_class_balanced_crop_shows_its_pixel(scale, context, run):
    """Three lone pixels, each of a class, two of them in corners; the image is turned, too."""
    label = np.full((40, 60), 255, np.int32)
    for index, place in enumerate([(0, 59), (39, 0), (17, 33)]):
        label[place] = index
    image, rng = np.zeros((40, 60, 3), np.uint8), np.random.default_rng(0)
    for case in range(48):
        out = run(
            image, label, (16 + 2 * context, 12 + 2 * context), context, scale=scale,
            offset=tuple(rng.random(2)), quarter_turns=case % 4, flip=case % 5 > 2,
            target=((case % 3 + 0.5) / 3, rng.random()),
        )[1]  # fmt: skip
        assert (out[context : 16 + context, context : 12 + context] == case % 3).any()


def test_a_class_balanced_crop_has_its_pixel_anywhere_in_it(run):
    image, label = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.int32)
    label[20:22, 20:22] = [[3, 4], [5, 6]]
    label[:, :2] = 255  # not drawn
    # class 0 is the first of five
    for index, place in enumerate([(20, 20), (20, 21), (21, 20), (21, 21)]):
        for row, column in ((0, 0), (2, 4), (7, 5), (7, 9)):
            offset = (1 - (row + 0.5) / 8, 1 - (column + 0.5) / 10)
            target = ((index + 1.5) / 5, 0.99)
            out = run(image, label, (8, 10), offset=offset, target=target)[1]
            top, left = place[0] - row, place[1] - column
            np.testing.assert_array_equal(out, label[top : top + 8, left : left + 10])


def test_nothing_but_void_is_cropped_as_ever(run):
    image, label = np.zeros((20, 20, 3), np.uint8), np.full((20, 20), 255, np.int32)
    assert (run(image, label, (8, 8), target=(0.5, 0.5))[1] == 255).all()


def test_a_pixel_turned_out_of_reach_leaves_a_crop_at_the_edge(run):
    image = np.zeros((40, 40, 3), np.uint8)
    label = np.zeros((40, 40), np.int32)
    label[0, 0] = 1
    out = run(image, label, (10, 10), angle=45.0, target=(0.9, 0.5))[1]
    assert out.shape == (10, 10)
