"""Both pipelines read the same files and make batches of the same kind."""

import numpy as np
import pytest
from PIL import Image

from jaxseg import data, defaults
from jaxseg.bench import data_jaxseg, data_memory, data_torch, pipeline
from jaxseg.data import transforms
from jaxseg.data.images import read_image
from jaxseg.data.mask_files import read_mask
from jaxseg.data.padding import mean_pixel
from jaxseg.data.pipeline import training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    pipeline.draw_images(folder, 4)
    return folder


def test_drawn_files_are_like_photographs(folder):
    images = sorted(folder.glob("train/images/*.jpg"))
    assert len(images) == 4
    assert all(Image.open(path).size == (500, 375) for path in images)
    assert 50_000 < np.mean([path.stat().st_size for path in images]) < 150_000
    masks = [np.asarray(Image.open(path)) for path in folder.glob("train/masks/*.png")]
    assert set(np.unique(masks)) == set(range(pipeline.CLASSES))


def test_both_pipelines_do_the_same_work(folder):
    """Pixel by pixel, for the same draws; the border between image and padding may differ."""
    config = defaults.get_config("unet")
    source = data_torch.TorchFiles(folder, config, length=8, stage="batch")
    for index in range(8):
        image, mask = source[index]
        name = f"{index % 4:03}"
        ours, our_mask = transforms.apply(
            read_image(folder / f"train/images/{name}.jpg", name),
            read_mask(folder / f"train/masks/{name}.png", name),
            transforms.draw(np.random.default_rng(index), config.augment),
            crop_size=config.augment.crop_size,
            mean=mean_pixel(config.dataset.mean),
            void=data_torch.VOID,
        )
        assert image.shape == ours.shape == (512, 512, 3)
        assert mask.dtype == our_mask.dtype
        assert np.mean(mask == our_mask) > 0.98
        assert np.abs(image.astype(float) - ours).mean() < 4


def test_images_a_second_are_measured(folder):
    speeds = pipeline.measure(folder, workers=2, seconds=0.01, images=16, stages=("transfer",))
    assert speeds["transfer"]["jaxseg"] > 1


def test_a_pass_stops_after_its_stage(folder, monkeypatch):
    """And does everything before it, for every image."""
    config, done = defaults.get_config("unet"), []
    data.load(data_jaxseg.dataset_of(folder, config), "train")  # prepared: nothing is read below

    def count(module, name):
        function = getattr(module, name)

        def counted(*args, **options):
            done.append(name)
            return function(*args, **options)

        monkeypatch.setattr(module, name, counted)

    count(data_jaxseg.pipeline, "read")
    count(training, "empty_batch")
    count(transforms, "apply_plan")
    count(data_jaxseg.parallel.Jit, "place")
    config.batch_size, config.pipeline.prefetch = 4, 1
    seen = []
    for stage in pipeline.STAGES[:5]:
        done.clear()
        data_jaxseg.up_to(folder, config, 2, 4, stage)()
        seen.append([done.count(name) for name in ("read", "apply_plan", "empty_batch", "place")])
        example = data_torch.TorchFiles(folder, config, 4, stage)[3]
        assert (example == 3) if stage in ("read", "decode", "warp") else len(example) == 2
    assert seen[:3] == [[0, 0, 0, 0], [4, 0, 0, 0], [4, 4, 0, 0]]
    for counts, place in zip(seen[3:], (0, 1), strict=True):
        assert counts[1] >= 4  # and those that are made ahead
        assert counts[2] >= 1
        assert counts[3] == place


def test_memory_stays_the_same_over_many_epochs(folder):
    """An epoch is one batch of 7 MB; until those made ahead are all there, memory may grow."""
    resident = data_memory.by_epoch(folder, workers=2, epochs=30)
    assert len(resident) == 30
    assert max(resident[15:]) - resident[14] < 40e6  # a batch left behind by each: 105 MB
