"""The PyTorch networks of the benchmark are jaxseg's: same cost, same logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import models, zoo
from jaxseg.bench.steps import NETWORKS

torch = pytest.importorskip("torch")

from jaxseg.bench import torch_models  # noqa: E402
from jaxseg.bench.torch_models.copying import copy_variables, cost  # noqa: E402

SMALLER = {"unet": {"width": 8}, "fcn": {"fc_width": 64}}


def build(name, **options):
    case = NETWORKS[name]
    options = {**case.options, **options}
    ours = models.build(case.model, 21, dtype=jnp.float32, **options)
    return ours, torch_models.build(case.model, 21, **options)


def drawn(model, size):
    """Variables that are all different, and keep the features near one."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name, shape = path[-1].key, leaf.shape
        if name in ("scale", "var"):
            return rng.uniform(0.3, 0.6, shape).astype(np.float32)
        deviation = np.sqrt(1 / np.prod(shape[:-1])) if name == "kernel" else 0.1
        return (deviation * rng.standard_normal(shape)).astype(np.float32)

    images = jnp.zeros((1, *size, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize("name", NETWORKS)
def test_as_many_parameters_and_multiply_adds(name):
    ours, theirs = build(name)

    assert cost(theirs, 65, 33) == zoo.cost(ours, 65, 33)


# ResNet-101 is the code of ResNet-50
@pytest.mark.parametrize("name", [name for name in NETWORKS if "resnet101" not in name])
def test_same_logits_with_the_same_variables(name, run_compiled):
    ours, theirs = build(name, **SMALLER.get(NETWORKS[name].model, {}))
    size = (65, 49)  # odd maps, pooled and cropped
    variables = drawn(ours, size)
    copy_variables(theirs, variables["params"], variables.get("batch_stats", {}))
    images = np.random.default_rng(1).standard_normal((2, *size, 3), np.float32)

    expected = run_compiled(lambda v, x: ours.apply(v, x, train=False)[0], variables, images)
    with torch.no_grad():
        got = theirs.eval()(torch.tensor(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()

    expected = np.asarray(expected)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_variables_of_another_network_are_refused():
    ours, _ = build("unet", width=4)
    variables = drawn(ours, (32, 32))

    _, wider = build("unet", width=8)
    with pytest.raises(ValueError, match="has no match in the PyTorch model"):
        copy_variables(wider, variables["params"], variables["batch_stats"])
    _, deeper = build("unet", width=4, depth=4)
    del variables["params"]["logits"]
    with pytest.raises(ValueError, match=r"has more than jaxseg's.*logits\.bias"):
        copy_variables(deeper, variables["params"], variables["batch_stats"])
