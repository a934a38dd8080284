import threading
import time
from collections import Counter

import numpy as np
import pytest

from jaxseg.data.pipeline import Skipped, UnreadableError, eval_batches, train_batches
from jaxseg.data.source import Cached
from jaxseg.errors import UserError

MEAN = (10.4, 20.0, 30.0)
SIZES = [(20, 30), (24, 24), (30, 20), (18, 40), (20, 30), (33, 17), (20, 30)]


@pytest.fixture
def batches(make_augment):
    def make(source, **changes):
        augment = make_augment(scale=(0.5, 2.0), flip=True, rotate90=True, brightness=0.3)
        values = {
            "start": 0,
            "batch_size": 4,
            "seed": 3,
            "augment": augment,
            "mean": MEAN,
            "workers": 2,
            "prefetch": 2,
        }
        return train_batches(source, **{**values, **changes})

    return make


def take(iterator, count):
    with iterator:
        return [next(iterator) for _ in range(count)]


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.names == b.names
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)
        np.testing.assert_array_equal(a.mask, b.mask)


class SlowAtTimes:
    """A source whose even examples take longer, so that threads finish out of order."""

    def __init__(self, source):
        self.source, self.classes = source, source.classes

    def __len__(self):
        return len(self.source)

    def size(self, index):
        return self.source.size(index)

    def __getitem__(self, index):
        time.sleep(0.004 * (index % 2 == 0))
        return self.source[index]


def test_workers_and_prefetch_change_nothing(batches, array_source):
    source = SlowAtTimes(array_source(SIZES))
    one = take(batches(source, workers=1, prefetch=1), 6)
    assert_equal(take(batches(source, workers=5, prefetch=3), 6), one)
    assert_equal(take(batches(Cached(array_source(SIZES)), workers=2), 6), one)


def test_a_batch_is_of_the_crop_size(batches, array_source):
    (batch,) = take(batches(array_source(SIZES)), 1)
    assert batch.image.shape == (4, 16, 16, 3)
    assert batch.image.dtype == np.uint8
    assert batch.label.shape == (4, 16, 16)
    assert batch.label.dtype == np.int32
    assert batch.mask.tolist() == [True] * 4


@pytest.mark.parametrize("start", [1, 5, 40])
def test_resuming_gives_the_same_batches(start, batches, array_source):
    source = array_source(SIZES)
    assert_equal(take(batches(source, start=start), 3), take(batches(source), start + 3)[start:])


def test_epochs_are_complete_and_differ(batches, array_source):
    source = array_source(SIZES)
    names = [n for batch in take(batches(source), 7) for n in batch.names]  # 28: four epochs of 7
    epochs = [names[i : i + 7] for i in range(0, 28, 7)]
    assert all(sorted(e) == [f"example{i}" for i in range(7)] for e in epochs)
    assert len({tuple(e) for e in epochs}) == 4


def test_augmentation_differs_between_epochs_and_seeds(batches, array_source):
    source = array_source([(40, 40)])
    images = [b.image for b in take(batches(source, batch_size=1), 6)]
    assert all((images[0] != other).any() for other in images[1:])
    (other,) = take(batches(source, batch_size=1, seed=4), 1)
    assert (other.image != images[0]).any()


@pytest.mark.parametrize("count", [2, 4])
def test_the_processes_shares_make_up_the_batch(count, batches, array_source):
    source = array_source(SIZES)
    whole = take(batches(source), 5)
    shares = [take(batches(source, process_index=i, process_count=count), 5) for i in range(count)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert batch.names == sum((p.names for p in parts), ())
        np.testing.assert_array_equal(batch.image, np.concatenate([p.image for p in parts]))
        np.testing.assert_array_equal(batch.label, np.concatenate([p.label for p in parts]))


def test_weights_are_of_the_augmented_labels(batches, array_source):
    def weigh(label):
        return label.astype(np.float32) / 2

    source = array_source(SIZES)
    for batch, plain in zip(
        take(batches(source, weigh=weigh), 3), take(batches(source), 3), strict=True
    ):
        assert_equal([batch], [plain])
        assert batch.weight.dtype == np.float32
        np.testing.assert_array_equal(batch.weight, batch.label / 2)
        assert set(plain.for_training()) == {"image", "label"}
        assert batch.for_training()["weight"] is batch.weight


def test_context_reaches_the_crops(batches, array_source, make_augment):
    source = array_source([(8, 8)])
    (batch,) = take(batches(source, context=4, batch_size=1, augment=make_augment()), 1)
    example = source[0]
    np.testing.assert_array_equal(batch.label[0, 4:-4, 4:-4], example["label"])
    mirrored = np.pad(example["image"], ((4, 4), (4, 4), (0, 0)), "reflect")
    np.testing.assert_array_equal(batch.image[0], mirrored)


class Failing(SlowAtTimes):
    def __getitem__(self, index):
        if index == 2:
            raise ZeroDivisionError("broken example")
        return self.source[index]


class Odd(SlowAtTimes):
    """Example 2 has a label of no shape, which only augmenting it finds out."""

    def __getitem__(self, index):
        example = self.source[index]
        return {**example, "label": np.zeros((), np.int32)} if index == 2 else example


@pytest.mark.parametrize(("kind", "said"), [(Failing, "number 2"), (Odd, "example2")])
def test_errors_of_workers_reach_the_consumer_with_the_example(kind, said, batches, array_source):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        take(batches(kind(array_source(SIZES))), 2)
    assert said in "".join(caught.value.__notes__)


class Damaged(SlowAtTimes):
    def __getitem__(self, index):
        if index in (2, 5):
            raise OSError(f"shard of {index} is gone")
        return self.source[index]


class AllDamaged(SlowAtTimes):
    def __getitem__(self, index):
        raise UserError(f"{index}: truncated")


EVAL = {"batch_size": 4, "size_multiple": 8, "mean": MEAN, "workers": 2}


def test_an_example_that_cannot_be_read_stops_with_its_name_and_the_way_out(batches, array_source):
    source = Damaged(array_source(SIZES))
    said = r"example [25] can't be read \(shard of [25] is gone\): .*on_unreadable=skip"
    with pytest.raises(UnreadableError, match=said):
        take(batches(source), 2)
    with pytest.raises(UnreadableError, match="example 2 "):
        list(eval_batches(source, **EVAL))


def test_examples_that_cannot_be_read_are_left_out_and_counted_on_request(batches, array_source):
    source, said = Damaged(array_source(SIZES)), []
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
    skipped = Skipped(said.append)
    counted = [n for b in eval_batches(source, skipped=skipped, **EVAL) for n in np.array(b.names)]
    assert sorted(filter(None, counted)) == [f"example{i}" for i in (0, 1, 3, 4, 6)]
    assert len(skipped) == 2


def test_a_split_of_damage_alone_ends(batches, array_source):
    with pytest.raises(UserError, match="no example of the split can be read"):
        take(batches(AllDamaged(array_source(SIZES)), skipped=Skipped(print)), 1)


def test_closing_ends_the_threads(batches, array_source):
    def ours():
        return [t for t in threading.enumerate() if t.name.startswith("jaxseg-data")]

    iterator = batches(array_source(SIZES))
    next(iterator)
    assert ours()
    iterator.close()
    assert not ours()


def test_waiting_is_counted(batches, array_source):
    class Slow(SlowAtTimes):
        def __getitem__(self, index):
            time.sleep(0.05)
            return self.source[index]

    with batches(Slow(array_source(SIZES)), workers=1, batch_size=2) as iterator:
        next(iterator)
        assert iterator.wait_seconds > 0.09
        time.sleep(0.4)  # the next batch is ready by now
        before = iterator.wait_seconds
        next(iterator)
        assert iterator.wait_seconds - before < 0.05


@pytest.mark.parametrize("wrong", [{"batch_size": 3, "process_count": 2}, {"workers": 0}])
def test_senseless_counts_are_refused(wrong, batches, array_source):
    with pytest.raises(UserError, match="expected"):
        batches(array_source(SIZES), **wrong)


def test_no_examples_is_an_error(batches, array_source):
    with pytest.raises(UserError, match="no examples"):
        batches(array_source([]))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_evaluation_sees_each_example_once_and_whole(workers, batch_size, array_source):
    source = array_source(SIZES, void=200)
    seen = Counter()
    options = {"size_multiple": 16, "mean": MEAN, "workers": workers}
    with eval_batches(SlowAtTimes(source), batch_size=batch_size, **options) as iterator:
        for batch in iterator:
            assert len(batch.names) == len(batch.mask) == batch_size
            assert batch.weight is None
            rows = zip(*batch.for_evaluation().values(), batch.names, strict=True)
            for image, label, valid, size, name in rows:
                if not valid:
                    assert name == ""
                    assert (label == 200).all()
                    assert (image == (10, 20, 30)).all()
                    continue
                seen[name] += 1
                example = source[int(name.removeprefix("example"))]
                h, w = example["label"].shape
                assert label.shape == (-(-h // 16) * 16, -(-w // 16) * 16)
                assert tuple(size) == (h, w)
                np.testing.assert_array_equal(label[:h, :w], example["label"])
                np.testing.assert_array_equal(image[:h, :w], example["image"])
                assert (label[h:] == 200).all()
                assert (label[:, w:] == 200).all()
                assert (image[h:] == (10, 20, 30)).all()
                assert (image[:, w:] == (10, 20, 30)).all()
    assert seen == Counter(f"example{i}" for i in range(len(SIZES)))


def test_evaluation_pads_to_the_canvas(array_source):
    source = array_source(SIZES)
    options = {"size_multiple": 8, "mean": MEAN, "workers": 1, "batch_size": 1}
    with eval_batches(source, canvas=(25, 25), **options) as iterator:
        sizes = {batch.names[0]: batch.label.shape[1:] for batch in iterator}
    want = [(25, 33), (25, 25), (33, 25), (25, 41), (25, 33), (33, 25), (25, 33)]
    assert sizes == {f"example{i}": size for i, size in enumerate(want)}
    with pytest.raises(UserError, match=r"canvas \(-1, 25\)"):
        eval_batches(source, canvas=(-1, 25), **options)


def test_the_processes_of_an_evaluation_agree_on_shapes_and_share_the_examples(array_source):
    source = array_source(SIZES)
    options = {"batch_size": 4, "size_multiple": 8, "mean": MEAN, "workers": 2, "process_count": 2}
    shares = [list(eval_batches(source, process_index=i, **options)) for i in range(2)]
    assert [b.image.shape for b in shares[0]] == [b.image.shape for b in shares[1]]
    names = [n for share in shares for b in share for n in np.array(b.names)[b.mask]]
    assert sorted(names) == sorted(f"example{i}" for i in range(len(SIZES)))


@pytest.mark.parametrize("where", ["size", "__getitem__"])
def test_the_processes_of_an_evaluation_leave_out_what_cannot_be_read(where, array_source):
    class Spoilt(SlowAtTimes):
        def size(self, index):
            return self.read("size", index)

        def __getitem__(self, index):
            return self.read("__getitem__", index)

        def read(self, what, index):
            if what == where and index == 4:
                raise OSError("gone")
            return getattr(self.source, what)(index)

    source, said = Spoilt(array_source(SIZES)), []
    skipped = [Skipped(said.append) for _ in range(2)]
    shares = [
        list(eval_batches(source, process_index=i, process_count=2, skipped=skipped[i], **EVAL))
        for i in range(2)
    ]
    assert [b.image.shape for b in shares[0]] == [b.image.shape for b in shares[1]]
    names = [n for share in shares for b in share for n in np.array(b.names)[b.mask]]
    assert sorted(names) == sorted(f"example{i}" for i in range(len(SIZES)) if i != 4)
    assert sum(map(len, skipped)) == 1
    assert said == ["skipped: example 4 can't be read (gone)"]


def test_a_process_reads_its_share_of_an_evaluation_alone(array_source):
    read = []

    class Counting(SlowAtTimes):
        def __getitem__(self, index):
            read.append(index)
            return self.source[index]

    for i in range(2):
        list(eval_batches(Counting(array_source(SIZES)), process_index=i, process_count=2, **EVAL))
    assert sorted(read) == list(range(len(SIZES)))


def test_cached_examples_are_read_once_and_cannot_be_changed(array_source):
    reads = []

    class Counting(SlowAtTimes):
        def __getitem__(self, index):
            reads.append(index)
            return self.source[index]

    cached = Cached(Counting(array_source(SIZES)))
    first, again = cached[1], cached[1]
    assert reads == [1]
    np.testing.assert_array_equal(first["image"], again["image"])
    with pytest.raises(ValueError, match="read-only"):
        again["label"][0, 0] = 1
