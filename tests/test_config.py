import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from absl import flags
from ml_collections import ConfigDict

from jaxseg import models
from jaxseg.config import check_config, check_unchanged, load_config, store_config
from jaxseg.errors import UserError
from jaxseg.overrides import define_flag, override_config, parse_flags

FILES = sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.py"))


def parse(*argv) -> Any:
    values = flags.FlagValues()
    define_flag(values)
    parse_flags(values, "train", argv)
    return values["config"].value


@pytest.mark.parametrize("name", FILES)
def test_every_config_file_says_its_claim_and_loads_with_every_model(name):
    module: Any = importlib.import_module(f"configs.{name}")
    assert "Claim:" in module.__doc__
    assert "Command: jaxseg train --config configs/" in module.__doc__
    for model in ("unet", "fcn", "deeplabv3plus"):
        config = module.get_config(model)
        assert config.model.name == model
        assert set(config.model) == {"name", *models.options(model)}


def test_a_valid_unet_trains_on_isbi_as_published():
    config = parse("--config=configs/isbi_em.py:unet,padding=valid,batch_norm=false")
    assert (config.batch_size, config.optimizer.momentum) == (1, 0.99)
    assert tuple(config.augment.crop_size) == (572, 572)
    assert (config.augment.elastic, config.augment.elastic_grid) == (10.0, 3)
    assert (config.loss.border_weight, config.loss.border_sigma) == (10.0, 5.0)
    assert parse("--config=configs/isbi_em.py:unet").loss.border_weight == 0


def test_the_argument_sets_the_models_own_options():
    config = parse(
        "--config=configs/camvid.py:deeplabv3plus,backbone=resnet18,atrous_rates=(3,6,9)"
    )
    assert config.model.backbone == "resnet18"
    assert tuple(config.model.atrous_rates) == (3, 6, 9)
    config = parse("--config", "configs/camvid.py:fcn,dropout=1")
    assert config.model.dropout == 1.0
    assert isinstance(config.model.dropout, float)


def test_a_run_keeps_its_tuples(tmp_path):
    config = parse("--config=configs/camvid.py:fcn")
    store_config(check_config(config), tmp_path)
    assert load_config(tmp_path).to_dict() == config.to_dict()


def test_classes_and_their_weights_are_one_word_or_many(tmp_path):
    """In a config file and on the command line, and once more when a run's own are changed."""
    key, file = "--config.loss.focal.class_weights", "--config=configs/camvid.py:fcn"
    numbers = tuple(float(i) for i in range(11))
    maps = [
        ("--config.dataset.label_map=Road", ("Road",)),
        ("--config.dataset.label_map=('Road',('vehicle','Car'))", ("Road", ("vehicle", "Car"))),
        ("--config.dataset.label_map=(('vehicle','Car'),)", (("vehicle", "Car"),)),
    ]
    for word, expected in maps:
        assert check_config(parse(file, word)).dataset.label_map == expected
    for given, expected in (("inverse_log", ("inverse_log",)), (str(numbers), numbers)):
        config = parse(file, f"{key}={given}")
        checked = check_config(config)
        assert checked.loss.terms["focal"]["class_weights"] == expected
        config = parse(file)
        config.loss.focal.class_weights = given if expected != numbers else numbers
        assert check_config(config) == checked
        store_config(checked, tmp_path)
        for other in ("median_frequency", str(numbers)):
            changed = override_config(load_config(tmp_path), "evaluate", [f"{key}={other}"])
            found = check_config(changed).loss.terms["focal"]["class_weights"]
            assert found in (numbers, ("median_frequency",))
    with pytest.raises(UserError, match=r"focal\.class_weights is 'inverse_logs'.*did you mean"):
        check_config(parse(file, f"{key}=inverse_logs"))


def test_a_run_of_an_earlier_version_goes_on_as_it_was(tmp_path, capsys):
    """Keys that are new since have the value that changes nothing; renamed ones keep theirs."""
    config = parse("--config=configs/camvid.py:fcn")
    values = config.to_dict()
    weights = tuple(float(i) for i in range(11))
    values["loss"] = {
        "class_weights": weights, "label_smoothing": 0.1, "border_weight": 0.0,
        "border_sigma": 5.0, "border_classes": (), "aux_weight": 0.4,
    }  # fmt: skip
    del values["profile"], values["num_predictions"], values["eval"]["canvas"], values["init_from"]
    values["dataset"]["builder_config"] = "abc"
    (tmp_path / "config.json").write_text(json.dumps(values))
    loaded = check_config(load_config(tmp_path))
    assert loaded.eval.canvas == (0, 0)
    cross_entropy = {"weight": 1.0, "class_weights": weights, "label_smoothing": 0.1}
    assert loaded.loss.terms["cross_entropy"] == cross_entropy
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for added in ("eval.canvas=(0, 0)", "init_from=''"):
        assert added in said
    assert "profile" not in said  # it changes no number
    assert "loss.dice" not in said  # without a weight
    same = check_config(config)
    changed = dataclasses.replace(same, init_from="elsewhere")
    with pytest.raises(UserError, match="init_from: '' -> 'elsewhere'"):
        check_unchanged(changed, tmp_path)


def test_a_run_keeps_its_config_and_refuses_another(tiny_config, tmp_path):
    store_config(check_config(tiny_config), tmp_path)
    check_unchanged(check_config(load_config(tmp_path)), tmp_path)  # its own config is no change
    tiny_config.optimizer.momentum = 0.25
    tiny_config.pipeline.workers = 7  # changes no number, so it may differ
    with pytest.raises(UserError, match=r"optimizer.momentum: 0.9 -> 0.25\)") as error:
        check_unchanged(check_config(tiny_config), tmp_path)
    assert "workers" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eval.batch_size", 0), ("eval.size_multiple", 0), ("log_every", 0), ("batch_size", 0),
        ("checkpoint.keep", 1), ("dataset.mean", (1.0,)), ("optimizer.betas", (0.9,)),
        ("dataset.channels", 0), ("dataset.channels", 129), ("dataset.bits", 12),
        ("eval.canvas", (513,)), ("ema_decay", 1.0), ("profile.first_step", 0),
        ("profile.steps", 0), ("eval.canvas", (-1, -1)), ("dataset.std", (0.0, 1.0, 1.0)),
        ("schedule.learning_rate", -0.1), ("schedule.learning_rate", float("nan")),
        ("loss.cross_entropy.weight", -1.0), ("loss.aux.dice.weight", -1.0), ("seed", -1),
        ("optimizer.weight_decay", float("inf")),
        ("augment.scale", (2.0, 0.5)), ("augment.scale", (0.0, 1.0)),
        ("augment.crop_size", (0, 8)), ("augment.crop_size", (8,)), ("augment.contrast", 1.5),
        ("augment.rotate", 200.0), ("augment.hue", 0.6), ("augment.max_class_share", 0.0),
        ("augment.elastic", -1.0), ("augment.elastic_grid", 1), ("loss.border_weight", -1.0),
        ("loss.border_sigma", 0.0), ("eval.scales", (1.0, 0.0)), ("eval.window", (-1,)),
        ("eval.overlap", 1.0), ("eval.temperature", 0.0),
    ],
)  # fmt: skip
def test_numbers_that_would_fail_hours_later_are_refused_at_once(tiny_config, key, value):
    check_config(tiny_config)
    with tiny_config.ignore_type():
        tiny_config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=rf"config\.{key} is .*expected"):
        check_config(tiny_config)


@pytest.mark.parametrize("key", ["saturation", "hue", "grey"])
def test_colours_are_for_rgb(tiny_config, key):
    tiny_config.augment[key] = 0.1
    check_config(tiny_config)
    tiny_config.dataset.update(channels=1, mean=(120.0,), std=(58.0,))
    with pytest.raises(UserError, match=rf"--config\.augment\.{key}=0"):
        check_config(tiny_config)
    tiny_config.augment[key] = 0.0
    assert check_config(tiny_config).dataset.mean == (120.0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float31"}, r"config\.dtype is 'float31'; did you mean 'float32'"),
        ({"total_steps": "many"}, r"config\.total_steps is 'many', expected int"),
        ({"fsdp": 1}, r"config\.fsdp is 1, expected bool"),
        ({"augment.crop_size": (64, 64.5)}, r"config\.augment\.crop_size is 64\.5, expected int"),
        ({"dataset.label_map": ("a", 3)}, r"label_map is 3, expected str \| tuple\[str, \.\.\.\]"),
        ({"dataset.label_map": (("a", 3),)}, r"label_map is 3, expected str"),
        ({"augment.crop": (64, 64)}, r"no key config\.augment\.crop: did you mean 'crop_size'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(tiny_config, change, message):
    values = {**tiny_config.to_dict(), "augment": dict(tiny_config.augment)}
    for key, value in change.items():
        section, _, name = key.rpartition(".")
        (values[section] if section else values)[name] = value
    with pytest.raises(UserError, match=message):
        check_config(ConfigDict(values))
