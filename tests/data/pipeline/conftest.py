"""Sources that are slow, damaged or wrong, and training batches of them."""

import pytest

from jaxseg.data.pipeline import train_batches

MEAN = (10.4, 20.0, 30.0)
SIZES = [(20, 30), (24, 24), (30, 20), (18, 40), (20, 30), (33, 17), (20, 30)]


@pytest.fixture
def make_source(array_source):
    """Makes sources that call `before(index)` and return `change(index, example)`."""

    class Source(array_source):
        def __init__(self, before, change, sizes, **options):
            super().__init__(sizes, **options)
            self.before, self.change = before, change

        def __getitem__(self, index, /):
            self.before(index)
            return self.change(index, super().__getitem__(index))

    def make(before=lambda index: None, change=lambda index, example: example, **options):
        return Source(before, change, options.pop("sizes", SIZES), **options)

    return make


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


@pytest.fixture
def eval_options():
    return {"batch_size": 4, "size_multiple": 8, "mean": MEAN, "workers": 2}


@pytest.fixture
def take():
    def take(iterator, count):
        with iterator:
            return [next(iterator) for _ in range(count)]

    return take
