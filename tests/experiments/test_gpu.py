"""The script for a machine with a GPU: what it refuses, what it leaves out, and a rehearsal."""

import json
import subprocess
import sys
import tarfile

import pytest

from experiments.benchmarks import gpu, gpu_archive, gpu_commands, gpu_jobs, gpu_report
from jaxseg.bench import steps
from jaxseg.errors import UserError

pytest.importorskip("torch")

ROW = {
    "network": "unet", "mode": "train", "batch": 2, "size": 32, "dtype": "bfloat16",
    "matmul_rate": 1e12, "seconds": {"jaxseg": 1.0, "eager": 4.0}, "errors": {},
    "matmul_share": {}, "compilation": {},
}  # fmt: skip


@pytest.fixture
def options(tmp_path):
    return gpu.Options(tmp_path, rehearse=True)


def write(folder, name, results):
    record = {"machine": "M", "versions": "V", "commit": "C", "results": results}
    (folder / f"{name}.json").write_text(json.dumps(record))


def test_training_steps_come_first():
    jobs = list(gpu_jobs.jobs(list(gpu_jobs.PARTS), rehearse=False))

    assert [job.name for job in jobs[: len(steps.NETWORKS)]] == [
        f"train-{name}-bfloat16" for name in steps.NETWORKS
    ]
    operations = [job for job in jobs if job.part == "ops"]
    assert [job.dtype for job in operations] == sorted(job.dtype for job in operations)
    assert len({job.subject for job in operations}) == len(operations) / 2


def test_a_machine_without_a_gpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    with pytest.raises(UserError, match=r"no GPU to measure on: .*--rehearse runs on a CPU"):
        gpu.main([f"--out={tmp_path}", "--parts=checks"])
    assert not (tmp_path / "results.md").exists()


@pytest.mark.parametrize("words", [[], ["--out=x", "--parts=trian"], ["--out=x", "--budget=1h"]])
def test_wrong_flags_are_explained(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected --out FOLDER, --parts of train,predict,"):
        gpu.main(words)


def test_missing_packages_are_named():
    with pytest.raises(UserError, match="packages no_such_one are missing: carry their wheels"):
        gpu._check_packages(["numpy", "no_such_one"])


def test_a_job_that_takes_too_long_is_ended_and_its_rows_stay(options, monkeypatch):
    (options.work / "checks.json").write_text("rows")

    reason = gpu.run(gpu_jobs.Job("checks"), options, limit=0.5)

    assert reason == "not done within 0 s"
    assert (options.work / "checks.json").read_text() == "rows"


def test_what_does_not_fit_the_budget_is_named_and_what_is_done_is_not_run_again(
    options, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()
    write(options.work, "train-unet-float32", {"complete": True, "rows": [ROW]})
    monkeypatch.setattr(gpu, "run", lambda *_: pytest.fail("nothing fits"))

    jobs = gpu_jobs.jobs(["train", "checks"], rehearse=True)
    gpu.run_all(jobs, options, out, end=0.0)

    page = (out / "results.md").read_text()
    assert "- checks: the budget was used up" in page
    assert "- train-unet" not in page
    assert "| unet | train | 2 | 32 | bfloat16 | 2 | 0.5 | eager | 4.00 |" in page


def test_the_page_has_the_fastest_mode_of_all_parts(tmp_path):
    slow = {**ROW, "seconds": {"max-autotune": 2.0}, "errors": {"x": "E: why"}}
    write(tmp_path, "train-unet-bfloat16", {"rows": [ROW]})
    write(tmp_path, "autotune-train-unet-bfloat16", {"rows": [slow]})
    write(tmp_path, "memory-unet-bfloat16", {"rows": [{**ROW, "peak_bytes": {"jaxseg": 3e9}}]})

    gpu_report.write(tmp_path, {})

    page = (tmp_path / "results.md").read_text()
    assert "| 2 | 1 | max-autotune | 2.00 |" in page
    assert "| 3.00 |" in page
    assert "- unet, train, x: E: why" in page
    assert page.startswith("# On a GPU\n\nM; V; commit C\n")


def test_what_comes_back_is_few_small_files_and_unpacks_again(tmp_path):
    work, out, again = (tmp_path / name for name in ("work", "out", "again"))
    for folder in (work / "cache" / "xla", out, again):
        folder.mkdir(parents=True)
    (work / "results.md").write_text("page")
    (work / "train.json").write_text("{}")
    sizes = [9, 9, 9, 9, 9, 9, 16, 1]  # MiB
    for number, size in enumerate(sizes):
        (work / f"cache/xla/program-{number}").write_bytes(bytes(size * 2**20))

    gpu_archive.pack_results(work, out)
    gpu_archive.pack_cache(work / "cache", out)
    gpu_archive.unpack(out, again)

    files = list(out.iterdir())
    assert len(files) <= 7
    assert all(path.stat().st_size < 16e6 for path in files)
    assert (again / "train.json").read_text() == "{}"
    kept = sorted(path.stat().st_size // 2**20 for path in (again / "cache/xla").iterdir())
    assert kept == [1, 9, 9, 9, 9]  # one a file, and no room for more
    with tarfile.open(out / gpu_archive.RESULTS) as archive:
        assert "cache" not in str(archive.getnames())


def test_outcomes_are_read_off_pytests_lines():
    line = "[gw1] [ 50%] FAILED tests/ops/test_conv.py::test_x[a b]\ntests/a.py::b PASSED [ 1%]"
    assert gpu_commands.OUTCOME.findall(line) == [("FAILED", "tests/ops/test_conv.py::test_x[a")]


@pytest.mark.slow
def test_a_rehearsal_does_every_part(tmp_path):
    command = [sys.executable, gpu.__file__, f"--out={tmp_path}", "--rehearse", "--keep_cache"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    page = (tmp_path / "results.md").read_text()
    assert page in run.stdout
    assert "Not finished" not in page
    for part in ("Training", "Prediction", "Checks", "Operations", "CamVid", "Tests"):
        assert f"## {part}" in page
    assert "torch.compile" in page
    assert "(val/miou)" in page
    assert " passed, 0 failed, 0 error, 0 skipped; pytest's exit code: 0" in page
    assert "\n0 passed" not in page
    assert len(list(tmp_path.iterdir())) <= 7
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line for line in again.stderr.splitlines() if "at most" in line] == [
        "device, at most 120 s ..."
    ]
