import jax
import jax.numpy as jnp
import pytest

from jaxseg.models.fcn_resnet import FCNResNet


def initial(model, size=(65, 97)):
    """Outputs and variables, as shapes alone."""
    images = jnp.ones((1, *size, 3))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, train=False))


@pytest.mark.parametrize(
    ("backbone", "count"), [("resnet50", 35_322_218), ("resnet101", 54_314_346)]
)
def test_parameter_counts_of_torchvision(backbone, count):
    (logits, out), variables = initial(FCNResNet(21, backbone))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count
    assert logits.shape == out["aux_logits"].shape == (1, 9, 13, 21)


def test_the_auxiliary_head_alone_goes_with_its_option():
    with_aux, without = (
        initial(FCNResNet(3, "resnet18", aux_head=aux, width_multiplier=0.1))
        for aux in (True, False)
    )
    assert set(with_aux[1]["params"]) - set(without[1]["params"]) == {"aux", "aux_logits"}
    assert "aux_logits" not in without[0][1]


def test_the_auxiliary_head_reads_stage3():
    (_, out), variables = initial(FCNResNet(3, "resnet18", output_stride=32))
    assert out["aux_logits"].shape == (1, 5, 7, 3)  # stride 16
    assert variables["params"]["aux"]["conv"]["kernel"].shape == (3, 3, 256, 64)
    assert variables["params"]["head"]["conv"]["kernel"].shape == (3, 3, 512, 128)
