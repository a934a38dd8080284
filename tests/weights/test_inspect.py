"""The lines of `jaxseg weights inspect`, see also tests/cli/test_weights.py."""

import shlex
from typing import Any

import numpy as np

from jaxseg.weights import inspect
from tests.weights import stored


def test_the_table_shows_where_keras_s_biases_go(tmp_path):
    names = {name: value.ndim for name, value in stored.entries("keras_resnet50").items()}
    entries: Any = {name: np.ones((1,) * ndim, np.float32) for name, ndim in names.items()}
    np.savez(tmp_path / "keras.npz", **entries)
    lines = list(inspect.describe(str(tmp_path / "keras.npz")))
    assert not any("(not recognised)" in line for line in lines)
    row = next(line for line in lines if line.startswith("conv2_block1_3_conv/bias "))
    assert row.endswith("into batch_stats/encoder/stage1_block1/norm3/mean")


def test_flags_are_quoted_for_a_shell(tmp_path):
    entries: Any = stored.entries("smp_deeplabv3plus_resnet18")
    np.savez_compressed(tmp_path / "smp.npz", **entries)
    lines = list(inspect.describe(str(tmp_path / "smp.npz")))
    model, images = (shlex.split(line) for line in lines if "--config" in line)
    assert "atrous_rates=(12,24,36)" in model[-1]
    assert images[1] == "--config.dataset.mean=(123.675,116.28,103.53)"
