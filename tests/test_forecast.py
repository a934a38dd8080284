"""How long a training takes, said by its first steps, and what makes it shorter."""

import shlex
from unittest import mock

import pytest

from configs import camvid, folder, isbi_em, voc
from jaxseg import forecast
from jaxseg.config import check_config
from jaxseg.forecast import FirstSteps, duration
from jaxseg.ops.norm import GLOBAL
from jaxseg.overrides import override_config
from jaxseg.parallel import Jit
from jaxseg.program import Program, build_model, check_parts
from jaxseg.weights.families import timm


def program_of(config, platform="cpu", devices=1):
    program = mock.Mock(spec=Program)
    program.model = build_model(config, 2, GLOBAL)
    program.parallel = mock.Mock(spec=Jit, platform=platform, num_devices=devices)
    return program


def first_steps(values, start=0, **options):
    config, said = check_config(values), []
    return FirstSteps(config, program_of(config, **options), start, said.append), said


def test_the_first_step_which_compiles_is_left_out_and_the_line_comes_once(tiny_config):
    tiny_config.total_steps = 800
    timing, said = first_steps(tiny_config)
    for done, seconds in ((1, 500.0), (2, 502.0), (3, 504.0)):
        timing.computed(done, seconds)
    assert said == []  # four seconds are too few
    timing.computed(4, 506.0)
    assert said == ["2 s a step: 800 steps take about 27 min, evaluations not counted"]
    timing.computed(5, 600.0)
    assert len(said) == 1


def test_a_continued_run_speaks_of_what_remains(tiny_config):
    tiny_config.total_steps = 800
    timing, said = first_steps(tiny_config, start=700)
    timing.computed(701, 3.0)
    timing.computed(741, 13.0)
    assert said == [
        "0.25 s a step: the 100 steps that remain take about 25 s, evaluations not counted"
    ]


def test_one_slow_step_is_enough(tiny_config):
    timing, said = first_steps(tiny_config)
    timing.computed(1, 60.0)
    timing.computed(2, 70.0)
    assert said == []
    timing, said = first_steps(tiny_config)
    timing.computed(1, 60.0)
    timing.computed(2, 85.0)
    assert said[0].startswith("25 s a step: 6 steps take about 2.5 min")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.025, "25 ms"), (0.82, "0.82 s"), (99.0, "99 s"), (1620.0, "27 min"), (12600.0, "3.5 h"),
     (180000.0, "2.1 days")],
)  # fmt: skip
def test_durations_have_two_digits_and_a_fitting_unit(seconds, text):
    assert duration(seconds) == text


CONFIGS = {
    "a wide unet": folder.get_config("unet,width=64"),
    "large crops": folder.get_config("unet,width=16"),
    "a resnet": camvid.get_config("deeplabv3plus,backbone=resnet50"),
    "aligned corners": voc.get_config(),
    "unpadded": isbi_em.get_config("unet,padding=valid,batch_norm=false"),
    "begun from weights": folder.get_config("unet,width=64"),
}
CONFIGS["begun from weights"].init_from = "weights.npz"
CONFIGS["large crops"].augment.crop_size = (256, 256)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_suggestion_can_be_pasted_and_shortens(name):
    """Its config is valid and computes less."""
    values = CONFIGS[name]
    config = check_config(values)
    program = program_of(config)
    suggested = forecast.shorter(config, program.model, program.parallel)
    assert suggested
    for flag, _ in suggested:
        changed = check_config(
            override_config(values.copy_and_resolve_references(), "x", shlex.split(flag))
        )
        check_parts(changed)

        def pixels(config):
            rows, cols = config.augment.crop_size
            return config.batch_size * rows * cols * config.model.options.get("width", 1)

        assert pixels(changed) < pixels(config)
    flags = " ".join(flag for flag, _ in suggested)
    assert ("model.width=16" in flags) == (name in ("a wide unet", "unpadded"))
    assert ("crop_size" in flags) == (name in ("large crops", "a resnet", "aligned corners"))


def test_more_than_an_hour_on_a_cpu_brings_advice(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["jaxseg", "train", "--config", "configs/folder.py:unet,width=64"]
    )
    values = CONFIGS["a wide unet"]
    values.total_steps = 2000
    config = check_config(values)

    def advice(step, remaining=2000, **options):
        return forecast.advice(config, program_of(config, **options), step, remaining)

    assert advice(1.7) == []
    assert advice(25.0, platform="gpu") == []
    shorter, pretrained = advice(25.0)
    assert "--config.model.width=16 (" in shorter
    assert "--config.total_steps=140 (an hour)" in shorter  # 3600 / 25
    assert "--config=configs/folder.py:deeplabv3plus," in pretrained
    assert advice(25.0, remaining=100) == []


def test_the_suggested_weights_fit_the_suggested_model():
    model = folder.get_config(forecast._PRETRAINED).model
    assert {name: model[name] for name in timm._TIMM} == timm._TIMM
    assert "mobilenetv2" in forecast._WEIGHTS


def test_a_batch_that_devices_could_not_share_is_not_suggested():
    config = check_config(folder.get_config("unet,width=16"))
    batch = config.batch_size // 2
    for devices, expected in ((1, batch), (batch, batch), (2 * batch, None)):
        found = forecast._half_batch(config, program_of(config, devices=devices).parallel)
        assert found == expected
