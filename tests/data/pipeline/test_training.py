import time
from collections import Counter

import numpy as np
import pytest

from jaxseg.data.pipeline import Skipped
from jaxseg.data.source import Cached
from jaxseg.errors import UserError


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.names == b.names
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_workers_and_prefetch_change_nothing(batches, take, make_source):
    # even examples take longer, so that threads finish out of order
    source = make_source(before=lambda index: time.sleep(0.004 * (index % 2 == 0)))
    one = take(batches(source, workers=1, prefetch=1), 6)
    assert_equal(take(batches(source, workers=5, prefetch=3), 6), one)
    assert_equal(take(batches(Cached(make_source()), workers=2), 6), one)


def test_mixing_changes_nothing_of_the_order_and_is_the_same_however_it_is_read(
    batches, take, make_source, make_augment
):
    source = make_source()
    augment = make_augment(scale=(0.5, 2.0), flip=True, rotate90=True, brightness=0.3)
    mixing = make_augment(**{**augment, "cutmix": 0.6, "copy_paste": 0.6})
    plain = take(batches(source, augment=augment), 7)
    mixed = take(batches(source, augment=mixing), 7)
    assert [b.names for b in mixed] == [b.names for b in plain]
    assert_equal(
        take(batches(source, augment=mixing, workers=4, prefetch=1, start=4), 3), mixed[4:]
    )
    parts = [
        take(batches(source, augment=mixing, process_index=i, process_count=2), 2) for i in range(2)
    ]
    halves = [np.concatenate([p.image for p in both]) for both in zip(*parts, strict=True)]
    np.testing.assert_array_equal(halves, [b.image for b in mixed[:2]])
    assert all((a.image != b.image).any() for a, b in zip(mixed, plain, strict=True))


def test_a_partner_is_augmented_by_its_own_draw(batches, take, make_source, make_augment):
    """Every pixel of a mixed epoch is, at its place, one of the epoch without mixing."""
    source, flips = make_source(), {"flip": True, "rotate90": True, "scale": (0.5, 2.0)}
    plain = take(batches(source, batch_size=7, augment=make_augment(**flips)), 1)[0]
    mixing = make_augment(**flips, cutmix=1.0, copy_paste=0.5)
    mixed = take(batches(source, batch_size=7, augment=mixing), 1)[0]
    both = np.concatenate([plain.image, plain.label[..., None]], -1)[None]
    ours = np.concatenate([mixed.image, mixed.label[..., None]], -1)[:, None]
    assert (both == ours).all(-1).any(1).all()


def test_weights_are_of_the_mixed_labels(batches, take, make_source, make_augment):
    augment = make_augment(cutmix=1.0)
    options = {"augment": augment, "weigh": lambda label: label.astype(np.float32)}
    (batch,) = take(batches(make_source(), **options), 1)
    np.testing.assert_array_equal(batch.weight, batch.label)


def test_others_stand_in_for_unreadable_partners(batches, take, make_source, make_augment):
    source, said = make_source(damaged), []
    options = {"augment": make_augment(cutmix=1.0, copy_paste=1.0)}
    seen = take(batches(source, skipped=Skipped(said.append), **options), 7)
    assert len(said) == 2
    assert not np.isin([b.image[..., 1] for b in seen], [2, 5]).any()  # the index of an image
    again = take(batches(source, skipped=Skipped(said.append), workers=5, start=3, **options), 4)
    assert_equal(again, seen[3:])
    with pytest.raises(UserError, match=r"shard of [25] is gone"):
        take(batches(source, **options), 7)


def test_a_batch_is_of_the_crop_size(batches, take, make_source):
    (batch,) = take(batches(make_source()), 1)
    assert batch.image.shape == (4, 16, 16, 3)
    assert batch.image.dtype == np.uint8
    assert batch.label.shape == (4, 16, 16)
    assert batch.label.dtype == np.int32
    assert batch.mask.tolist() == [True] * 4


@pytest.mark.parametrize("start", [1, 5, 40])
def test_resuming_gives_the_same_batches(start, batches, take, make_source):
    source = make_source()
    assert_equal(take(batches(source, start=start), 3), take(batches(source), start + 3)[start:])


def test_epochs_are_complete_and_differ(batches, take, make_source):
    source = make_source()
    names = [n for batch in take(batches(source), 7) for n in batch.names]  # 28: four epochs of 7
    epochs = [names[i : i + 7] for i in range(0, 28, 7)]
    assert all(sorted(e) == [f"example{i}" for i in range(7)] for e in epochs)
    assert len({tuple(e) for e in epochs}) == 4


def test_augmentation_differs_between_epochs_and_seeds(batches, take, make_source):
    source = make_source(sizes=[(40, 40)])
    images = [b.image for b in take(batches(source, batch_size=1), 6)]
    assert all((images[0] != other).any() for other in images[1:])
    (other,) = take(batches(source, batch_size=1, seed=4), 1)
    assert (other.image != images[0]).any()


@pytest.mark.parametrize("count", [2, 4])
def test_the_processes_shares_make_up_the_batch(count, batches, take, make_source):
    source = make_source()
    whole = take(batches(source), 5)
    shares = [take(batches(source, process_index=i, process_count=count), 5) for i in range(count)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert batch.names == sum((p.names for p in parts), ())
        np.testing.assert_array_equal(batch.image, np.concatenate([p.image for p in parts]))
        np.testing.assert_array_equal(batch.label, np.concatenate([p.label for p in parts]))


def test_weights_are_of_the_augmented_labels(batches, take, make_source):
    def weigh(label):
        return label.astype(np.float32) / 2

    source = make_source()
    for batch, plain in zip(
        take(batches(source, weigh=weigh), 3), take(batches(source), 3), strict=True
    ):
        assert_equal([batch], [plain])
        assert batch.weight.dtype == np.float32
        np.testing.assert_array_equal(batch.weight, batch.label / 2)
        assert set(plain.for_training()) == {"image", "label"}
        assert batch.for_training()["weight"] is batch.weight


def test_context_reaches_the_crops(batches, take, make_source, make_augment):
    source = make_source(sizes=[(8, 8)])
    (batch,) = take(batches(source, context=4, batch_size=1, augment=make_augment()), 1)
    example = source[0]
    np.testing.assert_array_equal(batch.label[0, 4:-4, 4:-4], example["label"])
    mirrored = np.pad(example["image"], ((4, 4), (4, 4), (0, 0)), "reflect")
    np.testing.assert_array_equal(batch.image[0], mirrored)


def damaged(index):
    if index in (2, 5):
        raise OSError(f"shard of {index} is gone")


def test_others_stand_in_for_what_cannot_be_read_and_resuming_holds(batches, take, make_source):
    source, said = make_source(damaged), []
    skipped = Skipped(said.append)
    seen = take(batches(source, skipped=skipped), 14)  # eight epochs of seven
    assert Counter(name for batch in seen for name in batch.names).keys() == {
        f"example{i}" for i in range(7) if i not in (2, 5)
    }
    assert len(skipped) == 2
    assert sorted(said) == [
        f"skipped: example {i} can't be read (shard of {i} is gone)" for i in (2, 5)
    ]
    again = take(batches(source, skipped=Skipped(said.append), workers=5, start=3), 11)
    assert_equal(again, seen[3:])


@pytest.mark.parametrize("wrong", [{"batch_size": 3, "process_count": 2}, {"workers": 0}])
def test_senseless_counts_are_refused(wrong, batches, make_source):
    with pytest.raises(UserError, match="expected"):
        batches(make_source(), **wrong)


def test_no_examples_is_an_error(batches, make_source):
    with pytest.raises(UserError, match="no examples"):
        batches(make_source(sizes=[]))
