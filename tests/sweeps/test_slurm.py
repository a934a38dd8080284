"""A sweep on stand-ins for Slurm's commands, which run its jobs as processes here.

The fast tests' runs are stand-ins too; the slow test trains.
"""

import json
import shlex
import subprocess
import sys

import pytest

from experiments.faults import differences
from jaxseg.cli import main
from jaxseg.lock import locked
from jaxseg.sweeps import plan, slurm, status

NAMES = ("narrow/seed0", "wide/seed0", "coarse/seed0")


def test_each_run_is_a_job_and_the_same_command_submits_what_is_new(
    sweep, cluster, monkeypatch, capsys
):
    monkeypatch.setenv("STAND_IN_GPUS", "2")
    cluster.places(0)
    assert sweep.run("partition=gpu,mem_gb=4") == 0
    out = capsys.readouterr()
    assert "3 runs: 3 to submit, 0 queued or running, 0 finished already" in out.err
    assert out.out == (
        "jobs 101_0 to 101_1: 2 runs\n"
        "job 102: coarse, seed 0, after 101_0\n"
        f"watch: jaxseg sweep status {sweep.workdir}, or squeue --me\n"
    )
    assert sweep.jobs() == dict(zip(NAMES, ("101_0", "101_1", "102"), strict=True))
    assert sweep.run("partition=gpu", "--seeds=2") == 0
    assert "6 runs: 3 to submit, 3 queued or running, 0" in capsys.readouterr().err
    assert main(["sweep", "status", str(sweep.workdir)]) == 0
    out = capsys.readouterr().out
    assert "queued 101_1" in out
    assert "6 runs: 6 queued" in out
    cluster.places(2)
    cluster.wait_for_all()
    assert set(cluster.states().values()) == {"COMPLETED"}
    assert set(sweep.states().values()) == {"finished"}
    begun = sweep.events("begun")
    assert len(begun) == 6
    assert {(e["gpu"], e["slurm"], e["distributed"]) for e in begun} == {("0", 0, False)}
    assert all(e["session"] == e["pid"] for e in begun)
    trained = {e["name"]: e["time"] for e in sweep.events("ended") if e["command"] == "train"}
    assert all(trained[e["name"]] < e["time"] for e in begun if e["command"] == "evaluate")
    capsys.readouterr()
    assert sweep.run("partition=gpu", "--seeds=2") == 0
    out = capsys.readouterr()
    assert "6 runs: 0 to submit, 0 queued or running, 6 finished" in out.err
    assert out.out == f"next: jaxseg sweep report {sweep.workdir}\n"
    assert len(cluster.states()) == 6


def begin_and_wait(sweep, cluster, *options):
    """Runs that wait at step 20; one job at a time."""
    (sweep.workdir / "wait").touch()
    cluster.places(1)
    assert sweep.run(*options) == 0
    cluster.wait(lambda: sweep.events("begun"))


@pytest.mark.parametrize(
    ("cause", "by"), [("limit", {"SIGTERM", "SIGUSR2"}), ("preempt", {"SIGTERM"})]
)
def test_a_run_is_saved_at_its_time_limit_or_preemption_and_queued_again(
    sweep, cluster, monkeypatch, cause, by
):
    monkeypatch.setenv("STAND_IN_KILL_WAIT", "1")
    begin_and_wait(sweep, cluster, "timeout_min=60,signal_delay_s=20", "--only=narrow")
    cluster.ask(cause, "101")
    cluster.wait(lambda: len(sweep.events("begun")) == 2)
    first, saved, again = sweep.events()
    assert first["step"] == 0
    assert saved["event"] in by
    assert saved["step"] == again["step"] == 20
    assert sweep.states() == {"narrow/seed0": "running"}
    (sweep.workdir / "wait").unlink()
    cluster.wait_for_all()
    assert cluster.states() == {"101": "COMPLETED"}
    assert cluster.about("101")["restarts"] == 1
    assert sweep.states() == {"narrow/seed0": "finished"}
    assert len(sweep.events()) == 4


def test_a_cancelled_run_is_saved_and_continues_when_it_is_submitted_again(
    sweep, cluster, monkeypatch
):
    monkeypatch.setenv("STAND_IN_KILL_WAIT", "1")
    begin_and_wait(sweep, cluster)
    cluster.ask("scancel", "101_0")
    cluster.wait(lambda: cluster.states()["101_0"] == "CANCELLED")
    cluster.wait(lambda: len(sweep.events("begun")) == 2)  # the other row
    assert sweep.states() == dict(zip(NAMES, ("stopped", "running", "waiting"), strict=True))
    assert sweep.run() == 0
    assert sweep.jobs() == dict(zip(NAMES, ("103", "101_1", "104"), strict=True))
    (sweep.workdir / "wait").unlink()
    cluster.places(2)
    cluster.wait_for_all()
    assert set(sweep.states().values()) == {"finished"}
    narrow = sweep.events("begun", "narrow/seed0")
    assert [(e["command"], e["step"]) for e in narrow] == [
        ("train", 0), ("train", 20), ("evaluate", 40),
    ]  # fmt: skip
    assert len(sweep.events("begun", "wide/seed0")) == 1


def test_a_failed_run_is_tried_once_more_and_stops_only_what_needs_it(sweep, cluster, capsys):
    (sweep.workdir / "fail").write_text("narrow")
    assert sweep.run() == 0
    cluster.wait_for_all()
    states = dict(zip(("101_0", "101_1", "102"), ("FAILED", "COMPLETED", "CANCELLED"), strict=True))
    assert cluster.states() == states
    assert len(sweep.events("begun", "narrow/seed0")) == 2
    assert "RunFailedError: no luck" in (sweep.workdir / "slurm" / "101_0_0_log.err").read_text()
    assert main(["sweep", "status", str(sweep.workdir)]) == 0
    assert "narrow, seed 0: no luck" in capsys.readouterr().out
    assert sweep.states() == dict(zip(NAMES, ("failed", "finished", "waiting"), strict=True))
    (sweep.workdir / "fail").unlink()
    assert sweep.run() == 0
    assert "2 to submit, 0 queued or running, 1 finished" in capsys.readouterr().err
    cluster.wait_for_all()
    assert set(sweep.states().values()) == {"finished"}


def test_processes_of_one_run_know_of_each_other(sweep, cluster):
    assert sweep.run("tasks_per_node=2", "--only=wide") == 0
    cluster.wait_for_all()
    begun = sweep.events("begun")
    assert sorted(e["rank"] for e in begun) == ["0", "1"]
    assert all(e["distributed"] and e["slurm"] > 5 for e in begun)
    assert (sweep.workdir / "wide" / "seed0.1.log").exists()


def test_a_run_that_goes_on_elsewhere_is_not_submitted(sweep, cluster, capsys):
    cluster.places(0)
    with locked(sweep.workdir / "narrow" / "seed0"):
        assert sweep.run() == 0
    out = capsys.readouterr()
    assert "3 runs: 2 to submit, 1 queued or running, 0 finished" in out.err
    assert out.out.startswith(
        "job 101: wide, seed 0\ncoarse, seed 0: needs narrow/seed0, which runs outside Slurm"
    )


def test_status_is_read_from_the_folders_where_there_is_no_slurm(
    sweep, cluster, monkeypatch, capsys
):
    cluster.places(0)
    assert sweep.run() == 0
    monkeypatch.setenv("PATH", "/nonexistent")
    capsys.readouterr()
    assert main(["sweep", "status", str(sweep.workdir)]) == 0
    assert "3 runs: 3 waiting" in capsys.readouterr().out
    assert sweep.run("gpus_per_node=1") == 2
    err = capsys.readouterr().err
    assert "there is no squeue here, so this is no machine of a Slurm cluster" in err


def test_a_sweep_in_the_slots_of_one_job_stops_when_slurm_says_so(sweep, cluster, monkeypatch):
    """What `jaxseg sweep --help` says of clusters that allocate whole machines."""
    (sweep.workdir / "wait").touch()
    script = (
        "import sys; from jaxseg.cli import main; from jaxseg.sweeps import local; "
        f"local.PROGRAM = {slurm.PROGRAM!r}; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "sweep", "run", str(sweep.source)]
    wrapped = shlex.join(["exec", *command, "--workdir", str(sweep.workdir)])
    job = cluster.ask("sbatch", "--gpus-per-node=2", "--signal=B:USR2@60", f"--wrap={wrapped}")
    assert job.stdout == "Submitted batch job 101\n"
    cluster.wait(lambda: len(sweep.events("begun")) == 2)
    assert {(e["gpu"], e["slurm"]) for e in sweep.events("begun")} == {("0", 0), ("1", 0)}
    cluster.ask("limit", "101")
    cluster.wait_for_all()
    assert len(sweep.events("SIGTERM")) == 2
    assert sweep.states() == dict(zip(NAMES, ("stopped", "stopped", "waiting"), strict=True))


def strike(cluster, workdir, jobs, total_steps=200):
    """Let the time limit of each training come once, well before its last step."""
    struck = set()

    def all_struck():
        for key, job in jobs.items():
            step = status.last_row(workdir / key / "metrics.jsonl").get("step", 0)
            if key not in struck and 10 <= step <= 150:
                struck.add(key)
                cluster.ask("limit", job)
        return len(struck) == len(jobs)

    cluster.wait(all_struck, 300)
    cluster.wait_for_all(600)  # and nothing is left
    assert set(cluster.states().values()) == {"COMPLETED"}
    assert {cluster.about(job)["restarts"] for job in jobs.values()} == {1}
    for key in jobs:
        starts = json.loads((workdir / key / "run.json").read_text())["starts"]
        assert [start["status"] for start in starts] == ["stopped", "finished"]
        assert 10 <= starts[1]["from_step"] < total_steps


@pytest.fixture
def trainings(sweep, monkeypatch):
    """The command that makes a sweep of real trainings, but for its folder."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    source = sweep.source
    source.write_text(source.read_text().replace('"total_steps": 40', '"total_steps": 200'))
    return [sys.executable, "-m", "jaxseg.cli", "sweep", "run", str(source), "--workdir"]


@pytest.mark.slow
def test_trainings_that_are_queued_again_at_their_limits_end_as_if_left_alone(
    trainings, tmp_path, cluster
):
    """The same scores, logs and last states as those of a local sweep, bit for bit."""
    alone, queued = tmp_path / "alone", tmp_path / "queued"
    subprocess.run([*trainings, str(alone)], check=True, timeout=600)
    options = "--slurm=timeout_min=60,signal_delay_s=60"
    subprocess.run([*trainings, str(queued), options], check=True, timeout=60)
    jobs = {k: job for k, job in slurm.jobs(queued).items() if not k.startswith("coarse")}
    strike(cluster, queued, jobs)
    for key in jobs:
        assert differences(queued / key, alone / key) == []
    for mine, theirs in zip(plan.stored_tasks(queued), plan.stored_tasks(alone), strict=True):
        paths = [status.score_path(task, "val") for task in (mine, theirs)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.slow
def test_a_training_of_two_processes_is_queued_again_at_its_limit(trainings, tmp_path, cluster):
    options = "--slurm=timeout_min=60,signal_delay_s=60,tasks_per_node=2"
    # two processes agree on the step at which they stop, some way ahead
    more = ["--only=narrow", "--config.total_steps=800"]
    command = [*trainings, str(tmp_path / "queued"), options, *more]
    subprocess.run(command, check=True, timeout=60)
    strike(cluster, tmp_path / "queued", {"narrow/seed0": "101"}, total_steps=800)
    record = json.loads((tmp_path / "queued" / "narrow/seed0/run.json").read_text())
    assert [start["hosts"]["processes"] for start in record["starts"]] == [2, 2]
