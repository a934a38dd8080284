from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.deeplabv3 import DeepLabV3
from jaxseg.models.deeplabv3plus import UPSAMPLINGS, DeepLabV3Plus

SMALL: dict[str, Any] = {"backbone": "resnet18", "width_multiplier": 2 / 64, "aspp_channels": 3}
SMALL_DECODER: dict[str, Any] = {"low_level_channels": 2, "decoder_channels": 4}


def initial(model, size=(64, 64)):
    """Outputs and variables, as shapes alone."""
    images = jnp.ones((1, *size, 3))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, train=False))


def parameters(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_parameter_count_on_resnet50():
    (logits, out), variables = initial(DeepLabV3Plus(21, aux_head=True), (65, 97))

    def block(k, i, o):  # convolution and batch norm
        return k * k * i * o + 2 * o

    aspp = 2 * block(1, 2048, 256) + 3 * block(3, 2048, 256) + block(1, 5 * 256, 256)
    decoder = block(1, 256, 48) + block(3, 256 + 48, 256) + block(3, 256, 256) + 256 * 21 + 21
    aux = block(3, 1024, 256) + 256 * 21 + 21
    assert parameters(variables) == 23_508_032 + aspp + decoder + aux
    assert logits.shape == (1, 17, 25, 21)
    assert out["stage4"].shape == (1, 5, 7, 2048)
    assert out["aux_logits"].shape == (1, 5, 7, 21)


@pytest.mark.parametrize(
    ("backbone", "count"), [("resnet34", 22_442_597), ("resnet50", 26_682_725)]
)
def test_parameter_counts_of_segmentation_models_pytorch(backbone, count):
    smp: dict[str, Any] = {
        "separable": True,
        "depthwise_norm": False,
        "head_conv": True,
        "decoder_depth": 1,
    }
    assert parameters(initial(DeepLabV3Plus(21, backbone, **smp))[1]) == count


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "xception65"])
def test_other_backbones_join_at_stride_4(backbone):
    small: dict[str, Any] = {"width_multiplier": 0.25, "separable": True, "aspp_channels": 8}
    (logits, _), variables = initial(DeepLabV3Plus(2, backbone, **small), (65, 97))
    assert logits.shape == (1, 17, 25, 2)
    assert {"decoder1", "decoder2", "low_level"} < set(variables["params"])
    convs = {"depthwise_conv", "depthwise_norm", "pointwise_conv", "norm"}
    assert set(variables["params"]["decoder2"]) == convs


def test_without_a_decoder_it_is_deeplabv3():
    plus, v3 = (
        initial(DeepLabV3Plus(3, decoder=False, **SMALL)),
        initial(DeepLabV3(3, **SMALL)),
    )
    assert plus == v3


def test_both_inputs_of_the_decoder_matter(random_variables, run_compiled):
    model = DeepLabV3Plus(3, **SMALL, **SMALL_DECODER)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 33, 40, 3)), jnp.float32)
    variables = random_variables(model, images)
    params = variables["params"]

    def logits(low, high):
        """The logits with the two inputs of the decoder's concatenation scaled."""
        kernel = params["decoder1"]["conv"]["kernel"]
        scale = jnp.concatenate([jnp.full(3, high), jnp.full(2, low)])[:, None]
        decoder1 = {**params["decoder1"], "conv": {"kernel": kernel * scale[None, None]}}
        scaled = {**variables, "params": {**params, "decoder1": decoder1}}
        return model.apply(scaled, images, train=False)[0]

    both, no_low, no_high = run_compiled(
        jax.vmap(logits), jnp.array([1.0, 0.0, 1.0]), jnp.array([1.0, 1.0, 0.0])
    )
    assert np.abs(both - no_low).max() > 1e-3
    assert np.abs(both - no_high).max() > 1e-3


def test_every_upsampling_has_its_own_logits(random_variables, run_compiled):
    """On sizes that are no multiples, all of one shape; corners matter where there are any."""
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 70, 85, 3)), jnp.float32)
    cases = [(method, "half_pixel") for method in UPSAMPLINGS]
    cases += [("bilinear", "aligned"), ("bicubic", "aligned")]
    # few features: transposed starts bilinear and differs at the border; random here
    made = [
        DeepLabV3Plus(3, upsampling=method, corners=corners, **SMALL, **SMALL_DECODER)
        for method, corners in cases
    ]
    shared = random_variables(made[0], images)

    def logits(model):
        own = random_variables(model, images)
        params = {**own["params"], **shared["params"]}
        return model.apply({**shared, "params": params}, images, train=False)[0]

    results = run_compiled(lambda: [logits(model) for model in made])
    assert {result.shape for result in results} == {(1, 18, 22, 3)}
    for i, one in enumerate(results):
        for other in results[:i]:
            assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("method", ["max_unpool", "bed_of_nails", "cubic"])
def test_upsamplings_it_has_not(method):
    with pytest.raises(UserError, match=f"no upsampling '{method}' here"):
        DeepLabV3Plus(2, upsampling=method)
