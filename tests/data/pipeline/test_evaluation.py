from collections import Counter
from typing import Any

import numpy as np
import pytest

from jaxseg.data.pipeline import Skipped, eval_batches
from jaxseg.errors import UserError

MEAN = (10.4, 20.0, 30.0)
SIZES = [(20, 30), (24, 24), (30, 20), (18, 40), (20, 30), (33, 17), (20, 30)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_evaluation_sees_each_example_once_and_whole(workers, batch_size, make_source):
    source = make_source(void=200)
    seen = Counter()
    options = {"size_multiple": 16, "mean": MEAN, "workers": workers}
    with eval_batches(source, batch_size=batch_size, **options) as iterator:
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


def test_images_of_other_channels_and_depths_are_padded_with_their_mean(make_source):
    def deepen(index, example):
        image = np.dstack([example["image"], example["image"][..., :2]])
        return {**example, "image": image.astype(np.uint16) * 257}

    source, mean = make_source(change=deepen), (1.0, 2.0, 3.0, 4.0, 60000.4)
    options: dict[str, Any] = {"size_multiple": 64, "workers": 1, "batch_size": 7}
    with eval_batches(source, mean=mean, bits=16, **options) as iterator:
        (batch,) = iterator
    assert (batch.image.shape, batch.image.dtype) == ((7, 64, 64, 5), np.uint16)
    assert (batch.image[:, 60, 60] == (1, 2, 3, 4, 60000)).all()
    np.testing.assert_array_equal(batch.image[0, :20, :30], source[0]["image"])
    with pytest.raises(TypeError), eval_batches(source, mean=mean, **options) as iterator:
        next(iterator)  # 16 bits would wrap around in 8


def test_evaluation_pads_to_the_canvas(make_source):
    source = make_source()
    options = {"size_multiple": 8, "mean": MEAN, "workers": 1, "batch_size": 1}
    with eval_batches(source, canvas=(25, 25), **options) as iterator:
        sizes = {batch.names[0]: batch.label.shape[1:] for batch in iterator}
    want = [(25, 33), (25, 25), (33, 25), (25, 41), (25, 33), (33, 25), (25, 33)]
    assert sizes == {f"example{i}": size for i, size in enumerate(want)}
    with pytest.raises(UserError, match=r"canvas \(-1, 25\)"):
        eval_batches(source, canvas=(-1, 25), **options)


def test_the_processes_of_an_evaluation_agree_on_shapes_and_share_the_examples(make_source):
    source = make_source()
    options = {"batch_size": 4, "size_multiple": 8, "mean": MEAN, "workers": 2, "process_count": 2}
    shares = [list(eval_batches(source, process_index=i, **options)) for i in range(2)]
    assert [b.image.shape for b in shares[0]] == [b.image.shape for b in shares[1]]
    names = [n for share in shares for b in share for n in np.array(b.names)[b.mask]]
    assert sorted(names) == sorted(f"example{i}" for i in range(len(SIZES)))


@pytest.mark.parametrize("where", ["size", "__getitem__"])
def test_the_processes_of_an_evaluation_leave_out_what_cannot_be_read(
    where, make_source, eval_options
):
    def gone(index):
        if index == 4:
            raise OSError("gone")
        return SIZES[index]

    source, said = make_source(gone if where == "__getitem__" else lambda index: None), []
    if where == "size":
        source.size = gone
    skipped = [Skipped(said.append) for _ in range(2)]
    shares = [
        list(
            eval_batches(
                source, process_index=i, process_count=2, skipped=skipped[i], **eval_options
            )
        )
        for i in range(2)
    ]
    assert [b.image.shape for b in shares[0]] == [b.image.shape for b in shares[1]]
    names = [n for share in shares for b in share for n in np.array(b.names)[b.mask]]
    assert sorted(names) == sorted(f"example{i}" for i in range(len(SIZES)) if i != 4)
    assert sum(map(len, skipped)) == 1
    assert said == ["skipped: example 4 can't be read (gone)"]


def test_a_process_reads_its_share_of_an_evaluation_alone(make_source, eval_options):
    read = []
    source = make_source(before=read.append)
    for i in range(2):
        list(eval_batches(source, process_index=i, process_count=2, **eval_options))
    assert sorted(read) == list(range(len(SIZES)))


def test_examples_that_cannot_be_read_are_left_out_and_counted(make_source, eval_options):
    def damaged(index):
        if index in (2, 5):
            raise OSError("gone")

    skipped = Skipped(print)
    batches = eval_batches(make_source(damaged), skipped=skipped, **eval_options)
    names = [name for batch in batches for name in np.array(batch.names)[batch.mask]]
    assert sorted(names) == [f"example{i}" for i in (0, 1, 3, 4, 6)]
    assert len(skipped) == 2
