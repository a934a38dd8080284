import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg import defaults
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError
from jaxseg.evaluators import miou
from jaxseg.predict import draw, find_images, predict
from jaxseg.program import build_program

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
MODELS = [
    "unet,width=4,depth=2",
    "unet,width=4,depth=2,padding=valid",
    "fcn,stride=8,width_multiplier=0.0625,fc_width=16",
    "fcn,stride=32,width_multiplier=0.0625,fc_width=16",
    "deeplabv3plus,backbone=resnet18,width_multiplier=0.0625,aspp_channels=8,decoder_channels=8",
]


@pytest.mark.parametrize("model", MODELS)
def test_any_image_comes_back_at_its_size(tiny_config, one_device, model):
    """Unpadded, so that the model itself meets every size."""
    tiny_config.model = defaults.model_config(model)
    tiny_config.augment.crop_size = (44, 44)  # fits the unpadded one
    tiny_config.eval.size_multiple = 1
    program = build_program(tiny_config, CLASSES, announce=lambda _: None)
    rng = np.random.default_rng(0)
    # Drawn here: compiling the initialisation takes longer than all the rest.
    state = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(leaf.dtype),
        jax.eval_shape(program.init_state),
    )
    for size in ((1, 1), (7, 5), (33, 47)):
        mask = predict(program, tiny_config, state, rng.integers(0, 255, (*size, 3), np.uint8))
        assert mask.shape == size
        assert set(np.unique(mask)) <= {0, 1, 2}


def test_padding_does_not_reach_the_result_shape_or_far_pixels(tiny_config, one_device):
    """The receptive field of this U-Net is under 32 pixels: further in, padding changes nothing."""
    program = build_program(tiny_config, CLASSES, announce=lambda _: None)
    state = program.init_state()
    image = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    masks = []
    for multiple in (2, 64):
        tiny_config.eval.size_multiple = multiple
        masks.append(predict(program, tiny_config, state, image))
    assert masks[0].shape == masks[1].shape == (90, 90)
    np.testing.assert_array_equal(masks[0][:56, :56], masks[1][:56, :56])


class Images:
    """A source of these images, all of class 0."""

    classes = CLASSES

    def __init__(self, *images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def size(self, index: int, /) -> tuple[int, int]:
        return self.images[index].shape[:2]

    def __getitem__(self, index: int, /) -> Example:
        image = self.images[index]
        return {"image": image, "label": np.zeros(image.shape[:2], np.int32), "name": str(index)}


def test_an_unpadded_net_sees_images_mirrored_and_no_padding(tiny_config, one_device):
    """Odd sizes, alone and in a batch, give the same however much they are padded."""
    tiny_config.model = defaults.model_config("unet,width=4,depth=2,padding=valid")
    tiny_config.augment.crop_size = (44, 44)
    tiny_config.eval.batch_size = 2
    # bright, far from the mean that images are padded with
    rng = np.random.default_rng(0)
    images = [rng.integers(150, 255, (*size, 3), np.uint8) for size in ((37, 21), (29, 32))]
    program = build_program(tiny_config, CLASSES, announce=lambda _: None)
    state = program.init_state()
    masks, matrices = [], []
    for multiple, canvas in ((1, (0, 0)), (32, (0, 0)), (1, (64, 64))):
        tiny_config.eval.size_multiple, tiny_config.eval.canvas = multiple, canvas
        masks.append([predict(program, tiny_config, state, image) for image in images])
        matrices.append(miou.evaluate(program, tiny_config, state, Images(*images))["confusion"])
    for padded in masks[1:]:
        for one, other in zip(masks[0], padded, strict=True):
            np.testing.assert_array_equal(one, other)
    assert matrices[0] == matrices[1] == matrices[2]
    predicted = np.concatenate([mask.ravel() for mask in masks[0]])
    np.testing.assert_array_equal(matrices[0][0], np.bincount(predicted, minlength=3))
    assert np.ptp(predicted) > 0


def test_prediction_pads_as_evaluation_does(tiny_config, one_device):
    tiny_config.eval.canvas, tiny_config.eval.size_multiple = (60, 40), 16
    image = np.random.default_rng(0).integers(0, 255, (37, 47, 3), np.uint8)
    seen = []

    def first_channel(_, batch):
        seen.append((batch["image"], batch["size"]))
        return batch["image"][..., 0].astype(np.int32)

    def no_matrix(_, batch):
        seen.append((np.asarray(batch["image"])[:1], np.asarray(batch["size"])[:1]))
        return np.zeros((3, 3), np.int64)

    program = build_program(tiny_config, CLASSES, announce=lambda _: None)
    program = dataclasses.replace(program, predict_step=first_channel, eval_step=no_matrix)
    shapes = jax.eval_shape(program.init_state)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    mask = predict(program, tiny_config, state, image)
    miou.evaluate(program, tiny_config, state, Images(image))
    for images, size in seen:
        assert images.shape == (1, 60, 56, 3)
        np.testing.assert_array_equal(images, seen[0][0])
        np.testing.assert_array_equal(size, [[37, 47]])
    np.testing.assert_array_equal(mask, image[..., 0])


class FirstDamaged(Images):
    def __getitem__(self, index: int, /) -> Example:
        if index == 0:
            raise OSError("truncated")
        return super().__getitem__(index)


def test_pictures_leave_out_what_cannot_be_read(tiny_config, one_device, tmp_path):
    program = build_program(tiny_config, CLASSES, announce=lambda _: None)

    def all_background(_, batch):
        return np.zeros(batch["image"].shape[:3], np.int32)

    program = dataclasses.replace(program, predict_step=all_background)
    shapes = jax.eval_shape(program.init_state)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    source = FirstDamaged(*np.zeros((3, 8, 8, 3), np.uint8))
    tiny_config.num_predictions = 2
    with pytest.raises(UserError, match="example 0 can't be read"):
        draw(program, tiny_config, state, source, tmp_path)
    tiny_config.pipeline.on_unreadable = "skip"
    last = draw(program, tiny_config, state, source, tmp_path)
    assert last == tmp_path / "predictions/2.png"
    assert sorted(p.stem for p in (tmp_path / "predictions").iterdir()) == ["1", "2"]


def test_no_picture_takes_the_place_of_another(tmp_path):
    for name in ("a.png", "a.jpg", "b.jpg", "b_overlay.jpg"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    out = tmp_path / "out"
    with pytest.raises(UserError, match="is one of the images: choose another --out"):
        find_images([str(tmp_path / "a.png")], tmp_path)
    for names in (("a.png", "a.jpg"), ("b.jpg", "b_overlay.jpg")):
        with pytest.raises(UserError, match="would both write"):
            find_images([str(tmp_path / n) for n in names], out)
    assert find_images([str(tmp_path / "a.jpg")], out) == [Path(tmp_path / "a.jpg")]
