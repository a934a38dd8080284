"""Settings that weights need, as flags to paste."""

import pytest
from ml_collections import ConfigDict

from jaxseg.errors import UserError
from jaxseg.weights.imported import Imported
from jaxseg.weights.requirements import check


def config(**model):
    colours = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    return ConfigDict({"model": {"name": "m", "backbone": "resnet50", **model}, "dataset": colours})


def imported(mean=(123.675, 116.28, 103.53), **options):
    return Imported("torchvision resnet50", {}, {}, (), options, mean=mean)


def test_what_is_equal_passes_and_what_the_model_lacks_does_not_count():
    notes = check(
        imported(
            backbone="resnet50", rates=(6, 12), rounding="floor", mean=(123.675, 116.28, 103.53001)
        ),
        config(rates=[6, 12]),
    )
    assert notes == []


def test_all_that_differs_is_in_one_line_with_flags():
    wanted = imported(
        mean=(127.5, 127.5, 127.5),
        backbone="resnet18",
        norm_epsilon=1e-3,
        rates=(6,),
        aux_head=True,
    )
    with pytest.raises(UserError) as error:
        check(wanted, config(norm_epsilon=1e-5, rates=(), aux_head=False))
    message = str(error.value)
    assert message.startswith("torchvision resnet50 weights need other settings")
    assert "model.backbone is resnet50, model.norm_epsilon is 1e-05, model.rates is ()" in message
    assert message.endswith(
        "add --config.model.backbone=resnet18 --config.model.norm_epsilon=0.001 "
        '--config.model.rates="(6,)" --config.model.aux_head=True '
        '--config.dataset.mean="(127.5,127.5,127.5)"'
    )
    assert "\n" not in message


def test_keras_epsilon_is_not_pytorchs():
    with pytest.raises(UserError, match=r"--config.model.norm_epsilon=1.001e-05"):
        check(imported(norm_epsilon=1.001e-5), config(norm_epsilon=1e-5))


def test_another_output_stride_is_allowed_and_said():
    assert check(imported(output_stride=8), config(output_stride=16)) == [
        "output_stride 16 here, 8 there"
    ]
