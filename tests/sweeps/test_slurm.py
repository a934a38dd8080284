"""A sweep on stand-ins for Slurm's commands, which run its jobs as processes here.

The fast tests' runs are stand-ins too; the slow test trains.
"""

import json
import subprocess
import sys

import pytest

from experiments.faults import differences
from jaxseg.cli import main
from jaxseg.errors import UserError
from jaxseg.lock import locked
from jaxseg.sweeps import plan, slurm, status

# In place of the command `jaxseg`: counts its steps to 40 unless a signal asks it to save; of a row
# that the file "fail" names it fails.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
words = sys.argv[1:]
folder = Path(words[words.index("--workdir") + 1])
sweep, name = folder.parent.parent, f"{folder.parent.name}/{folder.name}"
rank = os.environ.get("SLURM_PROCID", "-")
def note(event, step):
    row = {"event": event, "name": name, "command": words[0], "step": step, "rank": rank,
           "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "time": time.monotonic(),
           "slurm": sum(k.startswith("SLURM_") for k in os.environ), "session": os.getsid(0),
           "pid": os.getpid(), "distributed": "--distributed" in words}
    with (sweep / "events.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
def store(state):
    path = folder / f"run.{os.getpid()}"
    path.write_text(json.dumps({"status": state, "step": step}))
    path.replace(folder / "run.json")
def save(number, frame):
    note(signal.Signals(number).name, step)
    store("stopped")
    sys.exit(128 + number)
folder.mkdir(parents=True, exist_ok=True)
step = 0
for number in (signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, save)
if (folder / "run.json").exists():
    step = json.loads((folder / "run.json").read_text())["step"]
note("begun", step)
if (sweep / "fail").exists() and folder.parent.name in (sweep / "fail").read_text():
    print("jaxseg: error: no luck")
    sys.exit(1)
(folder / "eval" / "val").mkdir(parents=True, exist_ok=True)
if words[0] == "evaluate":
    (folder / "eval" / "val" / "40-eval.size_multiple=64.json").write_text('{"miou": 0.25}')
    note("ended", step)
    sys.exit()
while step < 40:
    while (sweep / "wait").exists() and step == 20:
        time.sleep(0.05)
    step += 1
(folder / "eval" / "val" / "40.json").write_text('{"miou": 0.5}')
store("finished")
note("ended", step)
"""
TINY = """
from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "narrow": Row({"model.width": 4}),
        "wide": Row({"model.width": 8}),
        "coarse": Row({"eval.size_multiple": 64}, evaluates="narrow"),
    },
    baseline="narrow",
    scales={
        "small": Scale(
            "configs/quickstart.py:unet,width=4,depth=1",
            {
                "total_steps": 40, "log_every": 1, "eval.every": 20, "checkpoint.every": 5,
                "dataset.train_examples": 32, "dataset.val_examples": 10, "batch_size": 8,
            },
            seeds=1,
        ),
    },
)
"""


class Sweep:
    """The command on an experiment, and what its runs noted."""

    def __init__(self, folder):
        self.workdir = folder / "sweep"
        self.workdir.mkdir()
        self.source = folder / "tiny.py"
        self.source.write_text(TINY)

    def run(self, options="", *words):
        command = ["sweep", "run", str(self.source), "--workdir", str(self.workdir), *words]
        return main([*command, f"--slurm={options}"])

    def events(self, event=None, name=None):
        path = self.workdir / "events.jsonl"
        rows = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
        return [
            row for row in rows if event in (None, row["event"]) and name in (None, row["name"])
        ]

    def statuses(self):
        tasks = plan.stored_tasks(self.workdir)
        found = [status.of_task(task, "miou", "val") for task in tasks]
        found = slurm.with_jobs(found, self.workdir, slurm.queue())
        return {slurm.key(each.task): each for each in found}

    def states(self):
        return {key: each.state for key, each in self.statuses().items()}

    def jobs(self):
        return slurm.jobs(self.workdir)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(slurm, "PROGRAM", (sys.executable, "-S", str(program)))
    return Sweep(tmp_path)


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
    assert "got --slots and --slurm" in capsys.readouterr().err


def test_options_become_submitits_parameters_and_sbatchs_own(cluster, monkeypatch):
    monkeypatch.setenv("STAND_IN_GPUS", "8")
    found = slurm.parse("cpus-per-task=8,mem_gb=1.5,setup=module load cuda,exclude=node[1,2]")
    assert (found["nodes"], found["tasks_per_node"], found["timeout_min"]) == (1, 1, 240)
    assert (found["cpus_per_task"], found["mem_gb"], found["setup"]) == (
        8, 1.5, ["module load cuda"],
    )  # fmt: skip
    assert found["srun_args"] == ["--cpus-per-task=8"]
    assert found["additional_parameters"] == {
        "exclude": "node[1,2]", "gpus_per_node": 1, "requeue": True, "kill_on_invalid_dep": "yes",
    }  # fmt: skip
    assert "gpus_per_node" not in slurm.parse("gres=gpu:a100:1")["additional_parameters"]
    assert slurm.parse("tasks_per_node=4")["additional_parameters"]["gpus_per_node"] == 4
    monkeypatch.delenv("STAND_IN_GPUS")
    assert "gpus_per_node" not in slurm.parse("")["additional_parameters"]
    with pytest.raises(UserError, match="--slurm takes KEY=VALUE"):
        slurm.parse("=3")


def test_a_sweep_in_the_slots_of_one_job_stops_when_slurm_says_so(sweep, cluster, monkeypatch):
    """What `jaxseg sweep --help` says of clusters that allocate whole machines."""
    (sweep.workdir / "wait").touch()
    script = (
        "import sys; from jaxseg.cli import main; from jaxseg.sweeps import local; "
        f"local.PROGRAM = {slurm.PROGRAM!r}; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "sweep", "run", str(sweep.source)]
    wrapped = "exec " + " ".join(f"'{w}'" for w in [*command, "--workdir", str(sweep.workdir)])
    job = cluster.ask("sbatch", "--gpus-per-node=2", "--signal=B:USR2@60", f"--wrap={wrapped}")
    assert job.stdout == "Submitted batch job 101\n"
    cluster.wait(lambda: len(sweep.events("begun")) == 2)
    assert {(e["gpu"], e["slurm"]) for e in sweep.events("begun")} == {("0", 0), ("1", 0)}
    cluster.ask("limit", "101")
    cluster.wait_for_all()
    assert len(sweep.events("SIGTERM")) == 2
    assert sweep.states() == dict(zip(NAMES, ("stopped", "stopped", "waiting"), strict=True))


@pytest.mark.slow
def test_trainings_that_are_queued_again_at_their_limits_end_as_if_left_alone(
    tmp_path, cluster, monkeypatch
):
    """The same scores, logs and last states as those of a local sweep, bit for bit."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    source = tmp_path / "tiny.py"
    source.write_text(TINY.replace('"total_steps": 40', '"total_steps": 200'))
    alone, queued = tmp_path / "alone", tmp_path / "queued"
    command = [sys.executable, "-m", "jaxseg.cli", "sweep", "run", str(source), "--workdir"]
    subprocess.run([*command, str(alone)], check=True, timeout=600)
    options = "--slurm=timeout_min=60,signal_delay_s=60"
    subprocess.run([*command, str(queued), options], check=True, timeout=60)
    jobs = slurm.jobs(queued)
    trained = {key: job for key, job in jobs.items() if not key.startswith("coarse")}
    struck = set()

    def all_struck():
        for key, job in trained.items():
            step = status.last_row(queued / key / "metrics.jsonl").get("step", 0)
            if key not in struck and 10 <= step <= 150:
                struck.add(key)
                cluster.ask("limit", job)
        return len(struck) == len(trained)

    cluster.wait(all_struck, 300)
    cluster.wait_for_all(600)  # and nothing is left
    assert set(cluster.states().values()) == {"COMPLETED"}
    assert {cluster.about(job)["restarts"] for job in trained.values()} == {1}
    for key in trained:
        starts = json.loads((queued / key / "run.json").read_text())["starts"]
        assert [start["status"] for start in starts] == ["stopped", "finished"]
        assert 10 <= starts[1]["from_step"] < 200
        assert differences(queued / key, alone / key) == []
