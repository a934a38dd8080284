"""What can't be read is named, or skipped and counted; what is labelled wrongly stops."""

import numpy as np
import pytest

from jaxseg import data
from jaxseg.data import stats
from jaxseg.data.pipeline import Skipped, UnreadableError, check_first, eval_batches
from jaxseg.data.pixels import ChannelsError
from jaxseg.data.source import Cached, LabelError
from jaxseg.errors import UserError


def relabelled(value, index=2):
    """A change that gives one pixel of one example another label."""

    def change(i, example):
        if i == index:
            example["label"][3, 4] = value
        return example

    return change


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("value", [-1, 3, 254, 256])
def test_a_label_outside_the_classes_stops_every_reader(
    value, skip, make_source, batches, take, eval_options
):
    skipped = Skipped(print) if skip else None
    source = make_source(change=relabelled(value))
    said = rf"example example2: label value\(s\) {value}, expected 0\.\.2 or void 255; let the data"
    for cached in (source, Cached(source)):
        readers = (
            lambda cached=cached: take(batches(cached, skipped=skipped), 2),
            lambda cached=cached: list(eval_batches(cached, skipped=skipped, **eval_options)),
            lambda cached=cached: stats.measure(cached, skipped),
            lambda cached=cached: check_first(cached),
        )
        for read in readers:
            with pytest.raises(LabelError, match=said):
                read()


def test_void_is_no_class_and_no_mistake(make_source, batches, take, eval_options):
    source = make_source(change=relabelled(255))
    take(batches(source), 2)
    assert sum(batch.mask.sum() for batch in eval_batches(source, **eval_options)) == 7
    assert stats.measure(source).void_pixels == 1
    check_first(source)


def test_other_channels_are_never_skipped(make_source, batches, take, eval_options):
    """The config is wrong for all examples, although all can be read."""

    def refuse(index, example):
        raise ChannelsError(f"{example['name']}: 5 channels, expected 3")

    source, skipped = make_source(change=refuse), Skipped(print)
    for read in (
        lambda: take(batches(source, skipped=skipped), 1),
        lambda: list(eval_batches(source, skipped=skipped, **eval_options)),
        lambda: check_first(source, count=1),
    ):
        with pytest.raises(ChannelsError, match=r"example\d: 5 channels, expected 3"):
            read()


def test_data_made_on_the_fly_is_looked_at_before_it_is_used(
    make_source, make_dataset, monkeypatch
):
    """A few examples, the last among them, so that nobody waits for all to be read."""
    from jaxseg.data.sets import shapes

    source = make_source(change=relabelled(7, index=70), sizes=[(8, 8)] * 71)
    monkeypatch.setattr(shapes, "load", lambda dataset, split: source)
    with pytest.raises(LabelError, match=r"example70: label value\(s\) 7"):
        data.load(make_dataset(name="shapes"), "val")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_examples_are_looked_at_once_each(count, make_source):
    read = []
    check_first(make_source(before=read.append, sizes=[(8, 8)] * count))
    assert read == list(range(count))


def fail(index):
    if index == 2:
        raise ZeroDivisionError("broken example")


def without_shape(index, example):
    """Only augmenting finds out."""
    return {**example, "image": np.zeros((), np.uint8)} if index == 2 else example


@pytest.mark.parametrize(
    ("options", "said"),
    [({"before": fail}, "number 2"), ({"change": without_shape}, "example2")],
)
def test_errors_of_workers_reach_the_consumer_with_the_example(
    options, said, batches, take, make_source
):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        take(batches(make_source(**options)), 2)
    assert said in "".join(caught.value.__notes__)


def damaged(index):
    if index in (2, 5):
        raise OSError(f"shard of {index} is gone")


def test_an_example_that_cannot_be_read_stops_with_its_name_and_the_way_out(
    batches, take, make_source, eval_options
):
    source = make_source(damaged)
    said = r"example [25] can't be read \(shard of [25] is gone\): .*on_unreadable=skip"
    with pytest.raises(UnreadableError, match=said):
        take(batches(source), 2)
    with pytest.raises(UnreadableError, match="example 2 "):
        list(eval_batches(source, **eval_options))
    with pytest.raises(UnreadableError, match="example 2 "):
        stats.measure(source)
    skipped = Skipped(print)
    assert stats.measure(source, skipped).images == 5
    assert len(skipped) == 2
    check_first(source)  # left to the readers


def test_a_split_of_damage_alone_ends(batches, take, make_source):
    def truncated(index):
        raise UserError(f"{index}: truncated")

    with pytest.raises(UserError, match="no example of the split can be read"):
        take(batches(make_source(truncated), skipped=Skipped(print)), 1)
