"""What is compiled for a config."""

import gc

import jax
import numpy as np
import pytest

from jaxseg.config import check_config
from jaxseg.data.palettes import voc_palette
from jaxseg.data.source import Classes
from jaxseg.errors import UserError
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


def build(config):
    return build_program(check_config(config), CLASSES, announce=lambda _: None)


def test_the_program_that_initialises_is_not_kept(tiny_config):
    client = jax.devices()[0].client
    build(tiny_config).init_state()  # and what JAX compiles once for all
    program = build(tiny_config)
    gc.collect()
    before = len(client.live_executables())
    program.init_state()
    gc.collect()
    assert len(client.live_executables()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"loss.dice.weight": 1.0, "grad_accum_steps": 2},
            r"config\.loss\.dice is a function of the whole batch.*use grad_accum_steps=1",
        ),
        (
            {"loss.aux.ohem.weight": 1.0, "grad_accum_steps": 4},
            r"config\.loss\.aux\.ohem is .*grad_accum_steps=4 do not add up",
        ),
        ({"loss.aux.focal.weight": 1.0}, r"loss\.aux .* but unet has none: use aux_head=True"),
    ],
)
def test_losses_that_the_config_has_no_use_for_are_refused(tiny_config, change, message):
    tiny_config.update_from_flattened_dict(change)
    with pytest.raises(UserError, match=message):
        build(tiny_config)


def test_evaluation_has_the_losses_that_add_up_over_its_images_or_tiles(tiny_config):
    tiny_config.loss.dice.weight = tiny_config.loss.lovasz.weight = 1.0
    tiny_config.loss.tversky.weight = 1.0
    tiny_config.loss.dice.per_image = True
    assert build(tiny_config).loss.left_out == ("lovasz",)
    tiny_config.loss.lovasz.per_image = True
    assert build(tiny_config).loss.left_out == ()
    tiny_config.model.padding, tiny_config.augment.crop_size = "valid", (36, 36)
    tiny_config.eval.tile_size = 8
    assert set(build(tiny_config).loss.left_out) == {"dice", "lovasz"}
