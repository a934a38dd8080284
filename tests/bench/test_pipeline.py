"""Both pipelines read the same files and make batches of the same kind."""

import numpy as np
import pytest
from PIL import Image

from jaxseg import defaults
from jaxseg.bench import pipeline
from jaxseg.data import transforms
from jaxseg.data.images import read_image
from jaxseg.data.mask_files import read_mask
from jaxseg.data.padding import mean_pixel


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
    source = pipeline.TorchFiles(folder, config, length=8)
    for index in range(8):
        image, mask = source[index]
        name = f"{index % 4:03}"
        ours, our_mask = transforms.apply(
            read_image(folder / f"train/images/{name}.jpg", name),
            read_mask(folder / f"train/masks/{name}.png", name),
            transforms.draw(np.random.default_rng(index), config.augment),
            crop_size=config.augment.crop_size,
            mean=mean_pixel(config.dataset.mean),
            void=pipeline.VOID,
        )
        assert image.shape == ours.shape == (512, 512, 3)
        assert mask.dtype == our_mask.dtype
        assert np.mean(mask == our_mask) > 0.98
        assert np.abs(image.astype(float) - ours).mean() < 4


def test_images_a_second_are_measured(folder):
    speeds = pipeline.measure(folder, workers=2, seconds=0.01, images=16)
    assert speeds["jaxseg"] > 1
