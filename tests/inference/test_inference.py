import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import data, defaults, evaluation, inference, losses
from jaxseg.config import check_config
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError
from jaxseg.inference.views import Views
from jaxseg.models.classifier import Classifier
from jaxseg.models.deeplabv3 import DeepLabV3
from jaxseg.models.fcn_resnet import FCNResNet
from jaxseg.models.unet import UNet
from jaxseg.ops.resize import resize
from jaxseg.overrides import override_config
from jaxseg.program import build_program


def pictures(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def whole(images):
    """The sizes of images without padding."""
    return jnp.asarray([images.shape[1:3]] * len(images), jnp.int32)


@pytest.fixture(scope="module")
def unet():
    return UNet(3, width=4, depth=2, padding="valid", batch_norm=False)


@pytest.fixture(scope="module")
def unet_variables(unet, run_compiled):
    images = jnp.zeros((1, unet.fit(1), unet.fit(1), 3))
    return run_compiled(lambda: unet.init(jax.random.key(0), images, train=False))


@pytest.fixture
def scores(unet, unet_variables):
    """By tiles of 8, 16, ..., or with 0 at once."""

    def run(images, tile_size):
        sizes = whole(images)
        return inference.scores(unet, unet_variables, images, sizes, tile_size=tile_size)

    return run


@pytest.mark.parametrize(
    ("size", "tile_size"), [((1, 5), 8), ((37, 50), 8), ((13, 50), 16), ((37, 50), 64)]
)
def test_tiles_of_a_unet_equal_the_whole(scores, size, tile_size, run_compiled):
    once, tiled = run_compiled(
        lambda images: [scores(images, n) for n in (0, tile_size)], pictures(1, *size, 3)
    )
    assert once.shape == (1, *size, 3)
    np.testing.assert_allclose(tiled, once, atol=1e-5)


@pytest.mark.parametrize(("size", "tile_size"), [((37, 50), 0), ((37, 50), 12), ((13, 22), 8)])
def test_losses_of_tiles_are_those_of_the_whole(
    unet, unet_variables, scores, size, tile_size, run_compiled
):
    """Of each pixel once, however tiles and their windows reach beyond the image."""
    images = pictures(2, *size, 3)
    labels = np.random.default_rng(1).integers(0, 3, (2, *size)).astype(np.int32)
    labels[0, :9] = 255
    loss = losses.build(losses.defaults(), num_classes=3, void=255)

    def both(images, labels):
        found = inference.classes_and_losses(
            unet,
            unet_variables,
            images,
            whole(images),
            labels,
            loss,
            tile_size=tile_size,
            with_confidence=True,
            views=Views(temperature=2.5),
        )
        return found, scores(images, 0)

    (best, sums, confidence), probabilities = run_compiled(both, images, jnp.asarray(labels))
    valid = labels != 255
    picked = np.log(np.asarray(probabilities)[valid, labels[valid]])
    np.testing.assert_allclose(sums["cross_entropy"], [-picked.sum(), valid.sum()], rtol=1e-5)
    np.testing.assert_array_equal(best, probabilities.argmax(-1))
    cooled = jax.nn.softmax(np.log(probabilities) / 2.5)
    np.testing.assert_allclose(confidence, cooled.max(-1), rtol=1e-5)


@pytest.mark.parametrize("tile_size", [0, 12])
def test_the_net_on_a_part_equals_the_same_pixels_of_a_larger_image(
    unet, scores, unet_variables, tile_size, run_compiled
):
    """Where it sees real context, away from the mirror, on the same pooling grid."""
    large, lost = pictures(1, 90, 94, 3), unet.context
    size = unet.fit(60)
    # the extended image begins `lost` before the image
    top, left = (-lost) % unet.grid, (-lost) % unet.grid + 2 * unet.grid
    cut = large[:, top : top + size, left : left + size]
    predicted, part = run_compiled(
        lambda: (scores(large, tile_size), unet.apply(unet_variables, cut, train=False)[0])
    )
    rows, cols = (slice(at + lost, at + size - lost) for at in (top, left))
    assert part.shape[1] == size - 2 * lost >= 16
    np.testing.assert_allclose(jax.nn.softmax(part), predicted[:, rows, cols], atol=1e-5)


@pytest.mark.parametrize("corners", ["half_pixel", "aligned"])
def test_scores_are_probabilities_and_classes_the_likeliest(corners, run_compiled):
    """Of a model that sees the whole image, with logits at a stride."""
    images = pictures(2, 21, 34, 3)
    model = FCNResNet(3, "resnet18", width_multiplier=1 / 16, aux_head=False, corners=corners)

    def run(images):
        variables = model.init(jax.random.key(0), images, train=False)
        logits, _ = model.apply(variables, images, train=False)
        sizes = whole(images)
        scores = inference.scores(model, variables, images, sizes)
        return logits, scores, inference.classes(model, variables, images, sizes)

    logits, scores, best = run_compiled(run, images)
    assert scores.shape == (2, 21, 34, 3)
    np.testing.assert_allclose(scores.sum(-1), 1.0, rtol=1e-6)
    expected = jax.nn.softmax(resize(logits, (21, 34), corners))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_array_equal(best, scores.argmax(-1))


@pytest.mark.parametrize(
    ("model", "crop_size", "tile_size", "message"),
    [
        ("valid", (572, 500), 0, "crop_size: unet: .* for 500 .*use 492 or 508"),
        ("valid", (572, 572), 100, "tile_size is 100, expected 0 .* or a multiple of 16"),
        ("valid", (572, 572), -16, "tile_size is -16"),
        ("same", (500, 500), 256, "tile_size is 256, but .*padding=valid"),
    ],
)
def test_what_does_not_fit_is_refused(model, crop_size, tile_size, message):
    with pytest.raises(UserError, match=message):
        inference.check(UNet(2, padding=model), crop_size, tile_size)


def test_logits_of_patches_are_refused():
    with pytest.raises(UserError, match="fc_padding is 'valid', which labels patches"):
        inference.check(Classifier(2, "vgg16"), (256, 256), 0)
    inference.check(Classifier(2, "vgg16", fc_padding="symmetric"), (256, 256), 0)


def test_what_fits():
    inference.check(UNet(2, padding="valid"), (572, 572), 384)
    inference.check(UNet(2), (500, 1), 0)


def test_an_unpadded_net_trains_and_is_evaluated(tiny_config, one_device):
    """The whole way from a config; tiles change no pixel of the confusion matrix, nor the loss."""
    tiny_config.model = defaults.model_config("unet,width=4,depth=2,padding=valid")
    source = data.load(check_config(tiny_config).dataset, "val")
    with pytest.raises(UserError, match=r"crop_size: unet: .* 32x32.*use 44"):
        build_program(check_config(tiny_config), source.classes, announce=print)
    tiny_config.augment.crop_size = (44, 48)
    matrices, val_losses, state = [], [], None
    for tile_size in (0, 16):
        tiny_config.eval.tile_size = tile_size
        program = build_program(check_config(tiny_config), source.classes, announce=print)
        state = state or program.init_state()
        scores = evaluation.evaluate(program, check_config(tiny_config), state, source)
        matrices.append(np.asarray(scores["confusion"]))
        val_losses.append(scores["loss"])
    assert val_losses[0] == pytest.approx(val_losses[1], rel=1e-6)
    np.testing.assert_array_equal(*matrices)
    assert matrices[0].sum() == sum((source[i]["label"] != 255).sum() for i in range(7))
    label = np.full((8, 44, 48), 255, np.int32)
    label[:, 20:24, 20:28] = 1  # all that has logits
    batch = {"image": np.zeros((8, 44, 48, 3), np.uint8), "label": label}
    _, numbers = program.train_step(state, program.parallel.place(batch))
    assert numbers["loss"] > 0
    label[:, 20:24, 20:28] = 255
    label[:, :20] = 1  # only what has none
    _, numbers = program.train_step(state, program.parallel.place(batch))
    assert numbers["loss"] == 0


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
    program = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
    rng = np.random.default_rng(0)
    # Drawn here: compiling the initialisation takes longer than all the rest.
    state = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(leaf.dtype),
        program.state_shapes(),
    )
    for size in ((1, 1), (7, 5), (33, 47)):
        mask = predict(
            program, check_config(tiny_config), state, rng.integers(0, 255, (*size, 3), np.uint8)
        )
        assert mask.shape == size
        assert set(np.unique(mask)) <= {0, 1, 2}


def test_another_output_stride_in_evaluation_is_a_model_built_with_it(
    tiny_config, one_device, run_compiled
):
    """`--config.model.output_stride=8` of a run that was trained at 16."""
    options = "backbone=resnet18,width_multiplier=0.0625,aspp_channels=8,image_pooling=False"
    tiny_config.model = defaults.model_config(f"deeplabv3,{options}")
    shapes = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(leaf.dtype), shapes.state_shapes()
    )
    changed = override_config(tiny_config, "evaluate", ["--config.model.output_stride=8"])
    program = build_program(check_config(changed), CLASSES, announce=lambda _: None)
    batch = {"image": rng.integers(0, 255, (1, 64, 64, 3), np.uint8), "size": np.full((1, 2), 64)}
    _, found = program.scores_step(state.eval_variables, batch)
    small = {"width_multiplier": 0.0625, "aspp_channels": 8, "image_pooling": False}
    built = DeepLabV3(3, "resnet18", output_stride=8, **small)

    def expected(images, variables):
        logits, _ = built.apply(variables, images, train=False)
        assert logits.shape[1:3] == (8, 8)
        return jax.nn.softmax(resize(logits, (64, 64)))

    mean, std = (np.array(getattr(tiny_config.dataset, key)) for key in ("mean", "std"))
    normal = jnp.asarray((batch["image"] - mean) / std, jnp.float32)
    np.testing.assert_allclose(
        found, run_compiled(expected, normal, state.eval_variables), atol=1e-5
    )
    assert shapes.model.interpolation[0] == 16


def test_padding_does_not_reach_the_result_shape_or_far_pixels(tiny_config, one_device):
    """The receptive field of this U-Net is under 32 pixels: further in, padding changes nothing."""
    program = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
    state = program.init_state()
    image = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    masks = []
    for multiple in (2, 64):
        tiny_config.eval.size_multiple = multiple
        masks.append(predict(program, check_config(tiny_config), state, image))
    assert masks[0].shape == masks[1].shape == (90, 90)
    np.testing.assert_array_equal(masks[0][:56, :56], masks[1][:56, :56])


def predict(program, config, state, image):
    return inference.predict_image(program.predict_step, state.eval_variables, image, config)


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
    program = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
    state = program.init_state()
    masks, matrices, val_losses = [], [], []
    for multiple, canvas in ((1, (0, 0)), (32, (0, 0)), (1, (64, 64))):
        tiny_config.eval.size_multiple, tiny_config.eval.canvas = multiple, canvas
        masks.append(
            [predict(program, check_config(tiny_config), state, image) for image in images]
        )
        scores = evaluation.evaluate(program, check_config(tiny_config), state, Images(*images))
        matrices.append(scores["confusion"])
        val_losses.append(scores["loss"])
    for padded in masks[1:]:
        for one, other in zip(masks[0], padded, strict=True):
            np.testing.assert_array_equal(one, other)
    assert matrices[0] == matrices[1] == matrices[2]
    np.testing.assert_allclose(val_losses, val_losses[0], rtol=1e-5)
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
        return {"miou": np.zeros((3, 3), np.int64)}, {"cross_entropy": np.zeros(2)}, {"rows": {}}

    program = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
    program = dataclasses.replace(program, predict_step=first_channel, eval_step=no_matrix)
    shapes = program.state_shapes()
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    mask = predict(program, check_config(tiny_config), state, image)
    scores = evaluation.evaluate(program, check_config(tiny_config), state, Images(image))
    assert scores["loss"] is None  # no pixel counted
    for images, size in seen:
        assert images.shape == (1, 60, 56, 3)
        np.testing.assert_array_equal(images, seen[0][0])
        np.testing.assert_array_equal(size, [[37, 47]])
    np.testing.assert_array_equal(mask, image[..., 0])
