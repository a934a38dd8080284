"""Options for Slurm, on stand-ins for its commands."""

import pytest

from jaxseg.errors import UserError
from jaxseg.sweeps.slurm_options import parse


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("partition", "--slurm takes KEY=VALUE,..., such as partition=gpu; got 'partition'"),
        ("nodes=two", "nodes is 'two', expected a number above 0"),
        ("mem_gb=0", "mem_gb is '0', expected a number above 0"),
        ("time=4:00:00", "time is not to be given, use timeout_min, in minutes"),
        ("dependency=afterok:5", "dependency is not to be given, jaxseg sets it"),
        ("partion=gpu", "sbatch refuses the jobs: unrecognized option '--partion=gpu'"),
        ("partition=none", "sbatch refuses the jobs: invalid partition specified: none"),
    ],
)
def test_wrong_options_get_one_line(sweep, cluster, capsys, options, message):
    assert sweep.run(options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert len([line for line in lines if "to submit" not in line]) == 1
    assert not sweep.jobs()


def test_slots_are_not_for_slurm(sweep, capsys):
    assert sweep.run("", "--slots=2") == 2
    assert "--slurm leaves the queue to Slurm" in capsys.readouterr().err


def test_options_become_submitits_parameters_and_sbatchs_own(cluster, monkeypatch):
    monkeypatch.setenv("STAND_IN_GPUS", "8")
    found = parse("cpus-per-task=8,mem_gb=1.5,setup=module load cuda,exclude=node[1,2]")
    assert (found["nodes"], found["tasks_per_node"], found["timeout_min"]) == (1, 1, 240)
    assert (found["cpus_per_task"], found["mem_gb"], found["setup"]) == (
        8, 1.5, ["module load cuda"],
    )  # fmt: skip
    assert found["srun_args"] == ["--cpus-per-task=8"]
    assert found["additional_parameters"] == {
        "exclude": "node[1,2]", "gpus_per_node": 1, "requeue": True, "kill_on_invalid_dep": "yes",
    }  # fmt: skip
    assert "gpus_per_node" not in parse("gres=gpu:a100:1")["additional_parameters"]
    assert parse("tasks_per_node=4")["additional_parameters"]["gpus_per_node"] == 4
    monkeypatch.delenv("STAND_IN_GPUS")
    assert "gpus_per_node" not in parse("")["additional_parameters"]
    with pytest.raises(UserError, match="--slurm takes KEY=VALUE"):
        parse("=3")
