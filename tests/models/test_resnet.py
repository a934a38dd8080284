import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.resnet import Block, ResNet
from jaxseg.ops.conv import Conv
from jaxseg.ops.layers import bind

LAYERS = bind(train=False, dtype=jnp.float32)
PREVIOUS = {"first_block_rate": "previous"}


@pytest.mark.parametrize(
    ("variant", "count"),
    [  # torchvision's, less the classifier's 1000 * (features + 1)
        ("resnet18", 11_689_512 - 1000 * 513),
        ("resnet34", 21_797_672 - 1000 * 513),
        ("resnet50", 23_508_032),
        ("resnet101", 44_549_160 - 1000 * 2049),
        ("resnet50_v1", 23_508_032),
    ],
)
def test_parameter_counts_and_strides(variant, count):
    out, variables = jax.eval_shape(
        lambda: ResNet(variant, LAYERS).init_with_output(
            jax.random.key(0), jnp.ones((1, 64, 96, 3))
        )
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    sizes = {name: x.shape[1:3] for name, x in out.items()}
    assert sizes == {
        "stem": (32, 48),
        "stage1": (16, 24),
        "stage2": (8, 12),
        "stage3": (4, 6),
        "stage4": (2, 3),
    }
    assert out["stage4"].shape[-1] == (512 if variant in ("resnet18", "resnet34") else 2048)


@pytest.mark.parametrize(
    ("options", "stage3", "stage4"),
    [
        ({}, [1] * 6, [1, 1, 1]),
        # DeepLabv3, section 3.2.1, and segmentation-models-pytorch
        ({"output_stride": 16}, [1] * 6, [2, 2, 2]),
        ({"output_stride": 8}, [2] * 6, [4, 4, 4]),
        ({"output_stride": 16, "multi_grid": (1, 2, 4)}, [1] * 6, [2, 4, 8]),
        ({"output_stride": 8, "multi_grid": (1, 2, 4)}, [2] * 6, [4, 8, 16]),
        # torchvision's, with one stride replaced and with both
        ({"output_stride": 16, **PREVIOUS}, [1] * 6, [1, 2, 2]),
        ({"output_stride": 8, **PREVIOUS}, [1, 2, 2, 2, 2, 2], [2, 4, 4]),
        ({"output_stride": 16, "multi_grid": (1, 2, 4), **PREVIOUS}, [1] * 6, [1, 4, 8]),
    ],
)
def test_dilations_by_hand(options, stage3, stage4):
    found = dilations(ResNet("resnet50", LAYERS, **options))
    assert [found[f"stage3_block{i}"] for i in range(1, 7)] == stage3
    assert [found[f"stage4_block{i}"] for i in range(1, 4)] == stage4


def test_dilations_where_the_stride_is_before_the_3x3():
    found = dilations(ResNet("resnet50_v1", LAYERS, output_stride=16, multi_grid=(1, 2, 4)))
    assert [found[f"stage4_block{i}"] for i in range(1, 4)] == [2, 4, 8]


def test_dilations_of_the_cascade():
    """Stage 4 at output stride 16 multiplies by 2; each copy of it does again."""
    found = dilations(ResNet("resnet50", LAYERS, 16, multi_grid=(1, 2, 1), stages=6))
    rates = [[found[f"stage{s}_block{i}"] for i in range(1, 4)] for s in (4, 5, 6)]
    assert rates == [[2, 4, 2], [4, 8, 4], [8, 16, 8]]


@pytest.mark.parametrize("padding", ["symmetric", "tf_same"])
def test_the_pooling_after_the_stem_is_padded_as_the_convolutions_are(padding, run_compiled):
    """On an even size the two paddings differ by a pixel; XLA's own pooling is the reference."""
    layers = bind(train=False, dtype=jnp.float32, padding=padding)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 24, 20, 3)), jnp.float32)
    model = ResNet("resnet18", layers, width_multiplier=2 / 64)

    def stem_and_pooled():
        seen = []

        def record(call, args, kwargs, context):
            if context.module.name == "stage1_block1":
                seen.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(record):
            out, _ = model.init_with_output(jax.random.key(0), images)
        return out["stem"], seen[0]

    stem, pooled = run_compiled(stem_and_pooled)
    pads = {"symmetric": ((0, 0), (1, 1), (1, 1), (0, 0)), "tf_same": "SAME"}[padding]
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    expected = jax.lax.reduce_window(stem, -np.inf, jax.lax.max, window, strides, pads)
    np.testing.assert_array_equal(pooled, expected)


def dilations(model):
    """The dilation of the last 3x3 convolution in each block."""
    found = {}

    def record(call, args, kwargs, context):
        module = context.module
        if isinstance(module, Conv) and module.kernel_size == 3:
            found[module.path[0]] = module.dilation
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((1, 32, 32, 3))))
    return found


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_starts_as_the_identity(bottleneck, run_compiled):
    """Where it needs no projection: its (non-negative) input passes through."""
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 5, 4, 8)), jnp.float32)
    block = Block(2 if bottleneck else 8, bottleneck, True, 1, (1, 1), LAYERS)
    y, _ = run_compiled(lambda: block.init_with_output(jax.random.key(0), x))
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "resnet20"}, "no backbone 'resnet20'.*did you mean"),
        ({"output_stride": 4}, "output_stride is 4, expected one of 8, 16, 32"),
        ({"output_stride": 64, "stages": 4}, "output_stride is 64"),
        ({"stages": 8}, "stages is 8"),
        ({"first_block_rate": "own_"}, "first_block_rate is 'own_', expected own or previous"),
        ({"variant": "resnet18", "multi_grid": (1, 2, 4)}, "has 2 blocks"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        ResNet(**{"variant": "resnet50", "layers": LAYERS, **options})
