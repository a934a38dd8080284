"""Every model of the zoo at sizes that no stride divides."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import inference, models, zoo

CLASSES = 3

NARROWEST: dict[str, Any] = {
    **{"width_multiplier": 0.05, "width": 4, "fc_width": 8, "low_level_channels": 5},
    **{"aspp_channels": 6, "decoder_channels": 7},
}


def narrow(entry):
    """A model of the zoo with few channels; `shallow` leaves two blocks to ResNet's last stage."""
    known = models.options(entry.model)
    options = {**entry.options, **{k: v for k, v in NARROWEST.items() if k in known}}
    if entry.model == "unet_resnet":
        options["decoder_channels"] = (6, 5, 4, 3, 2)
    if options.get("multi_grid") and "resnet" in options["backbone"]:
        options["multi_grid"] = options["multi_grid"][:2]
    return models.build(entry.model, CLASSES, dtype=jnp.float32, **options)


# of patches, logits come back where 7x7 features are inside the image
ODD = {True: (37, 53), False: (225, 263)}


def scores_of(model):
    """A function of variables and an image, and arguments for it."""
    h, w = ODD[model.labels_pixels]
    images = np.random.default_rng(0).normal(size=(1, h, w, 3)).astype(np.float32)

    def scores(variables, images):
        if not model.labels_pixels:
            return model.apply(variables, images, train=False)[0]
        return inference.scores(model, variables, images, jnp.array([[h, w]], jnp.int32))

    return scores, images, (1, h, w, CLASSES) if model.labels_pixels else (1, 2, 3, CLASSES)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("entry", zoo.ZOO, ids=lambda entry: entry.argument)
def test_every_model_of_the_zoo_takes_odd_sizes(entry):
    """Scores have the image's size."""
    model = narrow(entry)
    scores, images, expected = scores_of(model)
    inputs = jnp.zeros((1, *(model.fit(n) for n in images.shape[1:3]), 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
    assert jax.eval_shape(scores, variables, images).shape == expected


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("entry", zoo.ZOO, ids=lambda entry: entry.argument)
def test_every_model_of_the_zoo_computes_at_odd_sizes(entry, random_variables, run_compiled):
    model = narrow(entry)
    scores, images, _ = scores_of(model)
    inputs = jnp.zeros((1, *(model.fit(n) for n in images.shape[1:3]), 3))
    found = run_compiled(scores, random_variables(model, inputs), images)
    assert np.isfinite(found).all()
    if model.labels_pixels:
        np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-5)
