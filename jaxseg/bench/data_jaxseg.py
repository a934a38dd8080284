"""jaxseg's side of the benchmark of the input pipeline, up to any of its stages."""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import augmentation, data, parallel
from jaxseg.data import pipeline, transforms
from jaxseg.data.builder import open_records
from jaxseg.data.padding import mean_pixel
from jaxseg.data.pipeline.reading import read_ahead
from jaxseg.data.source import Source


def dataset_of(folder: Path, config: Any) -> Any:
    """The config's `dataset`: the images of `folder`, prepared beside them."""
    config.dataset.name = "folder"
    config.dataset.source = str(folder)
    config.dataset.data_dir = str(folder / "prepared")
    return config.dataset


def up_to(folder: Path, config: Any, workers: int, images: int, stage: str) -> Callable[[], None]:
    """A pass of jaxseg over `images` images of `folder` up to `stage`."""
    source = data.load(dataset_of(folder, config), "train")
    number = images // config.batch_size
    if stage == "on device":
        return _on_device(source, config, workers, number)
    if stage in ("batch", "transfer"):
        return functools.partial(_read_batches, source, config, workers, number, stage)
    directory = data.resolve(config.dataset)
    assert directory is not None  # a folder is always prepared
    records = open_records(directory, "train", ("image", "label"))
    pixel, crop_size = mean_pixel(config.dataset.mean), tuple(config.augment.crop_size)

    def work(index: int) -> None:
        if stage == "read":
            records[index]
            return
        example = pipeline.read(source, index, None)
        if stage == "warp" and example is not None:
            drawn = transforms.draw(np.random.default_rng((0, index)), config.augment)
            image, label = example["image"], example["label"]
            transforms.apply(
                image, label, drawn, crop_size=crop_size, mean=pixel, void=source.classes.void
            )

    def run() -> None:
        jobs = (functools.partial(work, i % len(source)) for i in range(images))
        for _ in read_ahead(jobs, workers, ahead=config.pipeline.prefetch * config.batch_size):
            pass

    return run


def batches(
    source: Source, config: Any, workers: int, canvas: tuple[int, int] | None = None
) -> pipeline.BatchIterator:
    """Those that a training with this config reads; with `canvas`, for the device to augment."""
    return pipeline.train_batches(
        source,
        start=0,
        batch_size=config.batch_size,
        seed=config.seed,
        augment=config.augment,
        mean=config.dataset.mean,
        workers=workers,
        prefetch=config.pipeline.prefetch,
        canvas=canvas,
    )


def placed(
    batches: Iterator[pipeline.Batch], step: Callable[[Any], Any] = lambda arrays: arrays
) -> Iterator[None]:
    """Each batch on the devices, and `step` of it; that of the one before it is waited for."""
    devices = parallel.create("jit", devices=jax.devices()[:1])
    arrays = None
    for batch in batches:
        jax.block_until_ready(arrays)
        arrays = step(devices.place(batch.for_training()))
        yield
    jax.block_until_ready(arrays)


def _read_batches(source: Source, config: Any, workers: int, number: int, stage: str) -> None:
    with batches(source, config, workers) as iterator:
        some = itertools.islice(iterator, number)
        for _ in placed(some) if stage == "transfer" else some:
            pass


def _on_device(source: Source, config: Any, workers: int, number: int) -> Callable[[], None]:
    config = config.copy_and_resolve_references()
    config.augment.on_device = True
    augment = augmentation.bind(config, void=source.classes.void, context=0)
    assert augment is not None
    compiled, canvas = jax.jit(augment), pipeline.canvas_of(source)

    def run() -> None:
        with batches(source, config, workers, canvas) as iterator:
            for _ in placed(itertools.islice(iterator, number), compiled):
                pass

    return run
