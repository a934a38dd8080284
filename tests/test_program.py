"""What is compiled for a config."""

import jax
import numpy as np
import pytest

from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.program import build_program

CLASSES = Classes(("a", "b", "c", "d", "e"), voc_palette(5))


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_runs_that_differ_in_the_seed_alone_share_every_program(tiny_config, parallel):
    texts, states = [], []
    for seed in (1, 2):
        tiny_config.seed, tiny_config.parallel = seed, parallel
        tiny_config.model.dropout = (0.5,)  # which uses the seed at every step
        program = build_program(check_config(tiny_config), CLASSES, announce=lambda _: None)
        states.append(program.init_state())
        batch = {
            "image": np.zeros((8, 32, 32, 3), np.uint8),
            "label": np.zeros((8, 32, 32), np.int32),
        }
        batch = program.parallel.place(batch)
        texts.append(program.train_step.lower(states[-1], batch).as_text())
    assert texts[0] == texts[1]
    kernels = [jax.tree.leaves(state.params) for state in states]
    assert any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(*kernels, strict=True))
