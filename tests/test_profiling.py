import gzip
import json

import jax
import pytest

from jaxseg import profiling, training
from jaxseg.config import check_config
from jaxseg.errors import UserError


def log(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    timings = ("images_per_second", "data_wait", "compile_seconds")
    return [{k: v for k, v in row.items() if k not in timings} for row in rows]


def events(path):
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_the_steps_asked_for_are_traced_and_no_others(tiny_config, tmp_path, one_device, capsys):
    """And training gives the same numbers."""
    tiny_config.eval.every = tiny_config.checkpoint.every = tiny_config.num_predictions = 0
    tiny_config.profile.first_step, tiny_config.profile.steps = 2, 3
    training.train_and_evaluate(tiny_config, tmp_path / "plain")
    assert not (tmp_path / "plain/profile").exists()
    training.train_and_evaluate(tiny_config, tmp_path / "traced", profile=True)
    assert log(tmp_path / "traced") == log(tmp_path / "plain")
    (path,) = (tmp_path / "traced/profile").rglob("perfetto_trace.json.gz")
    (planes,) = path.parent.glob("*.xplane.pb")  # what TensorBoard reads
    assert list(jax.profiler.ProfileData.from_file(str(planes)).planes)
    assert f"profile of steps 2 to 4: {path}" in capsys.readouterr().out
    traced = events(path)
    steps = [e["args"]["step_num"] for e in traced if e.get("name") == "train"]
    assert steps == ["2", "3", "4"]
    assert sum(e.get("name") == "wait for data" for e in traced) == 3


def test_a_continued_run_counts_from_where_it_begins(tiny_config):
    """For there it compiles."""
    tiny_config.total_steps = 114
    assert profiling.steps_of(check_config(tiny_config), start=0) == range(10, 15)
    assert profiling.steps_of(check_config(tiny_config), start=100) == range(110, 115)
    with pytest.raises(UserError, match=r"steps 111 to 115, and config.total_steps is 114"):
        profiling.steps_of(check_config(tiny_config), start=101)


def test_a_run_that_ends_before_its_profile_is_refused(tiny_config, tmp_path, one_device):
    tiny_config.profile.first_step, tiny_config.profile.steps = 5, 3
    with pytest.raises(
        UserError, match=r"steps 5 to 7, and config.total_steps is 6: lower"
    ) as error:
        training.train_and_evaluate(tiny_config, tmp_path / "run", profile=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
