"""Stand-ins for the commands of Slurm, which run jobs as processes of this machine.

    python slurm_stand_in.py COMMAND ARGUMENT ...      with a folder in STAND_IN

Each job has a process of its own that plays the controller: it waits for the job's dependency and
for one of the places (the number in the file `places`), runs the batch script, sends the signals of
a time limit (of minutes that last STAND_IN_MINUTE seconds), of a preemption and of scancel, and
puts the job back into the queue. What all of them know is in `state.json`, which a lock protects. A
job's processes are known by a variable of their environment, for they may have own sessions.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN"])
MINUTE = float(os.environ.get("STAND_IN_MINUTE", "60"))  # seconds
KILL_WAIT = float(os.environ.get("STAND_IN_KILL_WAIT", "10"))  # seconds from SIGTERM to SIGKILL
GPUS = os.environ.get("STAND_IN_GPUS", "")  # a node's
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
KNOWN = [
    "job-name",
    "time",
    "nodes",
    "ntasks-per-node",
    "cpus-per-task",
    "gpus-per-node",
    "mem",
    "partition",
    "wckey",
    "signal",
    "output",
    "error",
    "open-mode",
    "array",
    "dependency",
    "requeue",
    "kill-on-invalid-dep",
    "exclusive",
    "wrap",
]


@contextlib.contextmanager
def state():
    """All jobs by id; what is changed inside is kept."""
    with (FOLDER / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = FOLDER / "state.json"
        jobs = json.loads(path.read_text()) if path.exists() else {}
        yield jobs
        path.write_text(json.dumps(jobs, indent=1))


def sbatch(arguments):
    script = Path(arguments[-1]).read_text() if not arguments[-1].startswith("-") else ""
    lines = re.findall(r"^#SBATCH (.*)", script, re.MULTILINE)
    words = [word for line in lines for word in shlex.split(line)] + arguments
    options = {}
    for word in (w for w in words if w.startswith("--")):
        name, _, value = word[2:].partition("=")
        if name not in KNOWN:
            sys.exit(f"sbatch: unrecognized option '{word}'\nTry \"sbatch --help\"")
        options[name] = value
    if options.get("partition") == "none":
        sys.exit("sbatch: error: invalid partition specified: none")
    script = script or f"#!/bin/sh\n{options['wrap']}\n"
    last, _, parallel = options.get("array", "").removeprefix("0-").partition("%")
    with state() as jobs:
        number = max([100, *(int(job.split("_")[0]) for job in jobs)]) + 1
        ids = [f"{number}_{i}" for i in range(int(last) + 1)] if last else [str(number)]
        for job in ids:
            jobs[job] = {
                "state": "PENDING", "script": script, "options": options, "request": "",
                "parallel": int(parallel or 1000), "restarts": 0, "environment": {},
            }  # fmt: skip
    with (FOLDER / "errors").open("a") as errors:
        files = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        for job in ids:
            command = [sys.executable, "-S", __file__, "controller", job]
            subprocess.Popen(command, start_new_session=True, **files)
    print(f"Submitted batch job {number}")


def controller(arguments):
    (job,) = arguments
    while True:
        with state() as jobs:
            if _may_begin(job, jobs):
                jobs[job]["state"] = "RUNNING"
            about = jobs[job]
        if about["state"] == "RUNNING":
            _run(job, about)
        elif about["state"] in ENDED:
            break
        time.sleep(0.05)


def _may_begin(job, jobs):
    about = jobs[job]
    if about["request"] == "cancel":
        about["state"] = "CANCELLED"
    needed = about["options"].get("dependency", "").removeprefix("afterok:")
    if needed and jobs[needed]["state"] in ENDED[1:]:
        about["state"] = "CANCELLED"  # --kill-on-invalid-dep=yes
    running = [other for other, its in jobs.items() if its["state"] == "RUNNING"]
    ready = (other for other in jobs if _is_ready(other, jobs, running))
    return len(running) < int((FOLDER / "places").read_text()) and next(ready, "") == job


def _is_ready(job, jobs, running):
    about = jobs[job]
    needed = about["options"].get("dependency", "").removeprefix("afterok:")
    siblings = [other for other in running if other.split("_")[0] == job.split("_")[0]]
    return (
        about["state"] == "PENDING"
        and (not needed or jobs[needed]["state"] == "COMPLETED")
        and len(siblings) < about["parallel"]
    )


def _run(job, about):
    """Run the job's batch script once; its state afterwards says whether again."""
    options = about["options"]
    script = FOLDER / f"{job}.sh"
    script.write_text(about["script"])
    array, _, element = job.partition("_")
    nodes, per_node = int(options.get("nodes", 1)), int(options.get("ntasks-per-node") or 1)
    environment = {
        **os.environ, "STAND_IN_JOB": job, "SLURM_JOB_ID": re.sub(r"\D", "", job),
        "SLURM_NTASKS": str(nodes * per_node), "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_JOB_NODELIST": "localhost", "SLURM_RESTART_COUNT": str(about["restarts"]),
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(int(options.get("gpus-per-node", 0))))),
    }  # fmt: skip
    if element:
        environment |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": element}
    output = options.get("output", str(FOLDER / "%j.out")).replace("%A_%a", job).replace("%j", job)
    with Path(output).open("ab") as log:
        shell = subprocess.Popen(
            ["bash", str(script)], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    end = _watch(job, shell, options)
    _kill(job)
    shell.wait()
    with state() as jobs:
        about = jobs[job]
        if about["request"] == "cancel":
            about["state"] = "CANCELLED"
        elif end == "PREEMPTED" or about["request"] == "requeue":
            about |= {"state": "PENDING", "restarts": about["restarts"] + 1}
        else:
            about["state"] = end or ("FAILED" if shell.returncode else "COMPLETED")
        about["request"] = ""


def _watch(job, shell, options):
    """Send what is due until the batch script has ended; returns why Slurm ended it, if it did."""
    begun = time.monotonic()
    number, delay = options.get("signal", "USR2@0").removeprefix("B:").split("@")
    to_shell = options.get("signal", "").startswith("B:")
    limit = begun + float(options.get("time", 1000)) * MINUTE
    warned = terminated = 0.0
    reason = ""
    while shell.poll() is None:
        time.sleep(0.03)
        now = time.monotonic()
        with state() as jobs:
            request = jobs[job]["request"]
        if request == "limit" and not warned:
            limit = now + float(delay)
        if now >= limit - float(delay) and not warned:
            warned = now
            _send(job, getattr(signal, f"SIG{number}"), [shell.pid] if to_shell else None)
        if (now > limit or request in ("cancel", "preempt")) and not terminated:
            terminated, reason = now, "TIMEOUT" if now > limit else ""
            _send(job, signal.SIGTERM)
        if request == "requeue" or (terminated and now > terminated + KILL_WAIT):
            reason = "PREEMPTED" if request == "preempt" else reason
            _kill(job)
    return reason


def _processes(job, marker):
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            variables = path.read_bytes().split(b"\0")
            if f"STAND_IN_JOB={job}".encode() in variables and marker in b"\0".join(variables):
                yield int(path.parent.name)


def _send(job, number, processes=None):
    """To the processes that srun has started, as Slurm does, unless others are given."""
    for process in processes or list(_processes(job, b"STAND_IN_STEP=")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _kill(job):
    while found := [p for p in _processes(job, b"") if not _is_zombie(p)]:
        _send(job, signal.SIGKILL, found)
        time.sleep(0.02)


def _is_zombie(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def srun(arguments):
    own = [a for a in arguments if a.startswith("--")]
    paths = {o: arguments[arguments.index(o) + 1] for o in ("--output", "--error")}
    rest = [a for a in arguments if a not in (*own, *paths.values())]
    count = int(os.environ["SLURM_NTASKS"])
    steps = []
    for rank in range(count):
        names = [p.replace("%A_%a", os.environ["STAND_IN_JOB"]) for p in paths.values()]
        names = [p.replace("%j", os.environ["STAND_IN_JOB"]) for p in names]
        out, error = (os.open(p.replace("%t", str(rank)), FLAGS, 0o644) for p in names)
        environment = {
            **os.environ, "STAND_IN_STEP": str(rank), "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_STEP_NUM_NODES": "1",
            "SLURM_STEP_NODELIST": "localhost",
        }  # fmt: skip
        steps.append(subprocess.Popen(rest, env=environment, stdout=out, stderr=error))
    sys.exit(max(abs(step.wait()) for step in steps))


def squeue(arguments):
    with state() as jobs:
        for job, about in jobs.items():
            if about["state"] not in ENDED:
                print(job, about["state"])


def sacct(arguments):
    print("JobID|State|NodeList")
    with state() as jobs:
        for job, about in jobs.items():
            print(f"{job}|{about['state']}|localhost")


def sinfo(arguments):
    print(f"gpu:{GPUS}" if GPUS else "(null)")


def scontrol(arguments):
    command, job = arguments
    assert command == "requeue"
    _request(job, "requeue")


def scancel(arguments):
    _request(arguments[0], "cancel")


def preempt(arguments):
    """No command of Slurm's: a job of more weight wants the place."""
    _request(arguments[0], "preempt")


def limit(arguments):
    """Nor this: the job's time is over but for what its --signal says."""
    _request(arguments[0], "limit")


def _request(job, request):
    with state() as jobs:
        jobs[job]["request"] = request


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2:])
