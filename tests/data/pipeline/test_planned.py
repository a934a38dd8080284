"""Whole images and their plans: the same stream as that of the crops that the host makes."""

import numpy as np
import pytest

from jaxseg.data import transforms
from jaxseg.data.pipeline import canvas_of, planned
from jaxseg.errors import UserError


def arrays(batch):
    return {"names": np.array(batch.names), **batch.for_training()}


def assert_equal(ours, theirs):
    for a, b in zip(map(arrays, ours), map(arrays, theirs), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def unreadable(index):
    raise AssertionError("sizes are known without reading")


def test_the_canvas_is_the_largest_height_and_width_and_nothing_is_read(make_source):
    source = make_source(unreadable, sizes=[(20, 30), (33, 17), (18, 40)])
    assert canvas_of(source) == (33, 40)


def test_a_canvas_that_is_mostly_padding_is_refused(make_source):
    assert canvas_of(make_source(sizes=[(10, 10)] * 9 + [(17, 10)])) == (17, 10)
    with pytest.raises(UserError, match=r"10x300, 7\.7 times the average .* at most 4 times"):
        canvas_of(make_source(sizes=[(10, 10)] * 9 + [(10, 300)]))
    with pytest.raises(UserError, match="32767 a side"):
        canvas_of(make_source(sizes=[(1, 40_000)]))


def test_images_are_whole_and_in_the_order_of_the_host_s_crops(batches, take, make_source):
    source = make_source()
    crops, whole = take(batches(source), 4), take(batches(source, canvas=(33, 40)), 4)
    for crop, batch in zip(crops, whole, strict=True):
        assert batch.names == crop.names
        for slot, name in enumerate(batch.names):
            example = source[int(name.removeprefix("example"))]
            height, width = batch.plan["size"][slot]
            assert (height, width) == example["label"].shape
            np.testing.assert_array_equal(batch.image[slot, :height, :width], example["image"])
            np.testing.assert_array_equal(batch.label[slot, :height, :width], example["label"])
            assert batch.image[slot].sum() == example["image"].sum()  # zeros around it


def test_workers_starts_and_processes_change_nothing(batches, take, make_source):
    source, canvas = make_source(), (33, 40)
    want = take(batches(source, canvas=canvas), 5)
    assert_equal(take(batches(source, canvas=canvas, workers=5, prefetch=1), 5), want)
    assert_equal(take(batches(source, canvas=canvas, start=3), 2), want[3:])
    split = {"canvas": canvas, "process_count": 2}
    halves = [take(batches(source, **split, process_index=i), 5) for i in (0, 1)]
    for batch, *parts in zip(want, *halves, strict=True):
        for name, array in arrays(batch).items():
            np.testing.assert_array_equal(array, np.concatenate([arrays(p)[name] for p in parts]))


@pytest.mark.parametrize("elastic", [0.0, 4.0])
def test_tables_add_up_to_the_positions_of_the_plan(make_augment, elastic):
    augment = make_augment(scale=(0.5, 2.0), rotate90=True, vertical_flip=True, elastic=elastic)
    drawn = transforms.draw(np.random.default_rng(5), augment)
    plan = transforms.make_plan(np.zeros((40, 31), np.int32), drawn, crop_size=(24, 32), void=255)
    found = planned.plan_arrays(plan, (40, 31), 0)
    at = (found["columns"][:, None, :] + found["rows"][:, :, None]) / 2**planned.BITS
    if elastic:
        rows, columns = (transforms.bicubic(n, 3) for n in (24, 32))
        at += np.einsum("yr,rca,xc->ayx", rows, found["displacements"], columns)
        assert "label_rows" not in found
    np.testing.assert_allclose(at, transforms.sample_positions(plan), atol=1e-4)


def test_labels_are_taken_where_opencv_takes_them(make_augment):
    """In a wide image it rounds to another pixel than positions of more bits would."""
    label = np.arange(2 * 2900, dtype=np.int32).reshape(2, 2900)
    image = np.zeros((2, 2900, 3), np.uint8)
    augment, moved = make_augment(scale=(0.5, 2.0)), 0
    for seed in range(20):
        drawn = transforms.draw(np.random.default_rng(seed), augment)
        plan = transforms.make_plan(label, drawn, crop_size=(2, 640), void=9999)
        _, want = transforms.apply_plan(image, label, plan, mean=np.zeros(3, np.uint8), void=9999)
        found = planned.plan_arrays(plan, label.shape, 0)
        for names, bits in ((("label_columns", "label_rows"), planned.LABEL_BITS),
                            (("columns", "rows"), planned.BITS)):  # fmt: skip
            columns, rows = (found[name] for name in names)
            x, y = (columns[:, None, :] + rows[:, :, None] + (1 << bits - 1)) >> bits
            got = np.where(want == 9999, 9999, label[np.clip(y, 0, 1), np.clip(x, 0, 2899)])
            if bits == planned.LABEL_BITS:
                np.testing.assert_array_equal(got, want)
            else:
                moved += (got != want).sum()
    assert moved
