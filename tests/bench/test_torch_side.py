"""Both sides of the benchmark of steps train and predict alike."""

import numpy as np
import pytest

from jaxseg.bench.setting import Setting

OPTIONS = {"width": 4, "depth": 1}


@pytest.fixture
def sides(monkeypatch):
    """Makes jaxseg's and PyTorch's; weight decay and learning rate show within three steps."""
    pytest.importorskip("torch")
    from jaxseg import defaults
    from jaxseg.bench.jaxseg_side import JaxsegSide
    from jaxseg.bench.modes import PYTORCH
    from jaxseg.bench.torch_side import TorchSide

    usual = defaults.get_config

    def strong(arg):
        config = usual(arg)
        config.optimizer.weight_decay, config.schedule.learning_rate = 0.1, 0.1
        return config

    monkeypatch.setattr(defaults, "get_config", strong)
    return lambda setting, mode: (JaxsegSide(setting), TorchSide(setting, PYTORCH["cpu"][mode]))


@pytest.mark.parametrize(
    "mode",
    ["contiguous", "channels_last", pytest.param("torch.compile", marks=pytest.mark.slow)],
)
def test_both_sides_train_alike(sides, mode, one_device):
    setting = Setting("unet", OPTIONS, "train", 4, 32, "float32", "cpu")

    check_training(sides, setting, mode)


@pytest.mark.slow
def test_both_sides_train_alike_where_logits_are_enlarged(sides, one_device):
    options = {"backbone": "mobilenet_v2", "separable": True, "dropout": 0.0}
    setting = Setting("deeplabv3", options, "train", 8, 33, "float32", "cpu")

    # two: with batch norm over 3x3 maps, rounding grows tenfold a step
    check_training(sides, setting, "channels_last", steps=2)


def check_training(sides, setting, mode, steps=3):
    """The loss of the third step depends on all that the first two do."""
    from jaxseg.bench.torch_models.copying import copy_variables

    ours, theirs = sides(setting, mode)
    copy_variables(theirs.model, ours.state.params, ours.state.batch_stats)
    losses = [(float(ours.run()), theirs.run().item()) for _ in range(steps)]

    assert abs(losses[0][0] - losses[-1][0]) > 1e-3
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-4)


def test_both_sides_predict_alike(sides, one_device):
    from jaxseg.bench.torch_models.copying import copy_variables

    setting = Setting("unet", OPTIONS, "predict", 4, 32, "float32", "cpu")
    ours, theirs = sides(setting, "channels_last")
    copy_variables(theirs.model, ours.state.params, ours.state.batch_stats)

    expected = np.asarray(ours.run())
    assert len(np.unique(expected)) > 5
    assert (theirs.run().numpy() == expected).mean() > 0.999
