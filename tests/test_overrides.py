from typing import Any

import pytest
from absl import flags

from jaxseg.errors import UserError
from jaxseg.overrides import define_flag, parse_flags


def parse(*argv) -> Any:
    values = flags.FlagValues()
    define_flag(values)
    parse_flags(values, "train", argv)
    return values["config"].value


def test_overrides_reach_nested_keys_in_any_order():
    config = parse(
        "--config.optimizer.momentum=0.5", "--config", "configs/camvid.py", "--config.seed", "3"
    )
    assert config.optimizer.momentum == 0.5
    assert config.seed == 3
    assert config.is_locked


@pytest.mark.parametrize("name", ["configs/voc.py", "camvid.py", "nowhere/voc.py"])
def test_outside_the_repository_a_missing_config_says_where_configs_are(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"no config file '{name}'; configs are Python files"):
        parse(f"--config={name}:unet")


CAMVID = "--config=configs/camvid.py"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--config=configs/camvit.py"], r"no config file .*did you mean 'configs/camvid.py'"),
        ([f"{CAMVID}:unett"], r"did you mean 'unet'"),
        ([f"{CAMVID}:unet,widht=3"], r"no option 'widht'; did you mean 'width'.*known: .*depth"),
        ([f"{CAMVID}:unet,width=big"], r"width='big': expected int"),
        ([f"{CAMVID}:unet,dropout=0.5"], r"dropout='0.5': expected tuple, such as \(0.5,\)"),
        ([f"{CAMVID}:unet,width"], r"'width' is not KEY=VALUE"),
        ([CAMVID, "--config.total_stpes=3"], r"no key 'total_stpes'.*total_steps"),
        ([CAMVID, "--config.optimizer.momentun=3"], r"no key 'optimizer.momentun'.*momentum"),
        ([CAMVID, "--config.seed=many"], r"seed.*many"),
        (["--confg=configs/camvid.py"], r"no flag --confg; did you mean '--config'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_that_names_the_fix(argv, message):
    with pytest.raises(UserError, match=message) as error:
        parse(*argv)
    assert "\n" not in str(error.value)


def test_a_boolean_flag_does_not_swallow_the_next():
    config = parse("--config.augment.vertical_flip", "--config", "configs/camvid.py:unet")
    assert config.augment.vertical_flip is True
