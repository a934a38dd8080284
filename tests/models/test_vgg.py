import jax
import jax.numpy as jnp
import pytest

from jaxseg.models.vgg import VGG16


@pytest.mark.parametrize(
    ("batch_norm", "count"),
    [
        (False, 14_714_688),  # torchvision's vgg16().features
        (True, 14_714_688 + 4224),  # 4224 biases become 4224 scales and 4224 biases
    ],
)
def test_parameter_count_and_strides(batch_norm, count):
    images = jnp.ones((1, 64, 96, 3))
    out, variables = jax.eval_shape(
        lambda: VGG16(batch_norm=batch_norm).init_with_output(
            jax.random.key(0), images, train=False
        )
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    channels = [64, 128, 256, 512, 512]
    for i, c in enumerate(channels, start=1):
        assert out[f"pool{i}"].shape == (1, 64 >> i, 96 >> i, c)


def test_odd_sizes_round_up():
    out = jax.eval_shape(
        lambda: VGG16(width=2).init_with_output(
            jax.random.key(0), jnp.ones((1, 33, 47, 3)), train=False
        )[0]
    )
    assert [x.shape[1:3] for x in out.values()] == [(17, 24), (9, 12), (5, 6), (3, 3), (2, 2)]
