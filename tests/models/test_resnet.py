import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.resnet import Block, ResNet
from jaxseg.ops.conv import Conv
from jaxseg.ops.norm import batch_norm


@pytest.mark.parametrize(
    ("variant", "count"),
    [  # torchvision's, less the classifier's 1000 * (features + 1)
        ("resnet18", 11_689_512 - 1000 * 513),
        ("resnet34", 21_797_672 - 1000 * 513),
        ("resnet50", 23_508_032),
        ("resnet101", 44_549_160 - 1000 * 2049),
    ],
)
def test_parameter_counts_and_strides(variant, count):
    out, variables = jax.eval_shape(
        lambda: ResNet(variant).init_with_output(
            jax.random.key(0), jnp.ones((1, 64, 96, 3)), train=False
        )
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    sizes = {name: x.shape[1:3] for name, x in out.items()}
    assert sizes == {
        "stem": (16, 24),
        "stage1": (16, 24),
        "stage2": (8, 12),
        "stage3": (4, 6),
        "stage4": (2, 3),
    }
    assert out["stage4"].shape[-1] == (2048 if variant in ("resnet50", "resnet101") else 512)


@pytest.mark.parametrize(("variant", "strides"), [("resnet18", [16, 8]), ("resnet50", [8])])
def test_atrous_features_are_the_strided_ones_made_dense(
    variant, strides, random_variables, run_compiled
):
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 70, 97, 3)), jnp.float32)

    def features(variables, output_stride):
        model = ResNet(variant, output_stride=output_stride, width=4)
        return model.apply(variables, images, train=False)

    variables = random_variables(ResNet(variant, width=4), images)
    strided, *dense = run_compiled(
        lambda variables: [features(variables, s) for s in (32, *strides)], variables
    )
    for output_stride, out in zip(strides, dense, strict=True):
        for stage, stride in (("stage2", 8), ("stage3", 16), ("stage4", 32)):
            step = max(1, stride // output_stride)
            assert out[stage].shape[1] > strided[stage].shape[1] or step == 1
            subsampled = out[stage][:, ::step, ::step]
            np.testing.assert_allclose(subsampled, strided[stage], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("output_stride", "multi_grid", "stage3", "stage4"),
    [
        (32, (), [1] * 6, [1, 1, 1]),
        (16, (), [1] * 6, [1, 2, 2]),
        (8, (), [1, 2, 2, 2, 2, 2], [2, 4, 4]),  # torchvision's with both strides replaced
        (16, (1, 2, 4), [1] * 6, [1, 4, 8]),
    ],
)
def test_dilations_by_hand(output_stride, multi_grid, stage3, stage4):
    found = {}

    def look(call, args, kwargs, context):
        module = context.module
        if isinstance(module, Conv) and module.kernel_size == 3:
            found[module.path[0]] = module.dilation
        return call(*args, **kwargs)

    model = ResNet("resnet50", output_stride, multi_grid, width=2)
    with nn.intercept_methods(look):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3)), train=False))
    assert [found[f"stage3_block{i}"] for i in range(1, 7)] == stage3
    assert [found[f"stage4_block{i}"] for i in range(1, 4)] == stage4


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_starts_as_the_identity(bottleneck, run_compiled):
    """Where it needs no projection: its (non-negative) input passes through."""
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 5, 4, 8)), jnp.float32)
    norm = batch_norm(train=False, dtype=jnp.float32, axis_name=None)
    block = Block(2 if bottleneck else 8, bottleneck, 1, (1, 1), Conv, norm)
    y, _ = run_compiled(lambda: block.init_with_output(jax.random.key(0), x))
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "resnet20"}, "no backbone 'resnet20'.*did you mean"),
        ({"output_stride": 4}, "output_stride is 4"),
        ({"variant": "resnet18", "multi_grid": (1, 2, 4)}, "has 2 blocks"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        ResNet(**options)
