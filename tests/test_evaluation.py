"""Evaluation by several real processes of one machine is that of one."""

import json
import shutil
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from jaxseg import cli, data, ranking
from jaxseg.config import check_config, load_config
from tests.processes import finish, ours, together


def test_processes_evaluate_a_run_as_training_did(one_process_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(one_process_run, workdir)
    path = workdir / "eval/val/20.json"
    before = json.loads(path.read_text())
    path.unlink()
    words = [sys.executable, "-m", "jaxseg.cli", "evaluate", "--workdir", str(workdir),
             "--step", "latest"]  # fmt: skip
    with together(words, 2, 1) as started:
        said = finish(started)
    assert "step 20, val: 7 images" in said[0]
    scores = json.loads(path.read_text())
    assert scores.pop("loss") == pytest.approx(before.pop("loss"), rel=1e-5)
    assert scores == before


# What each process does: several commands, so that the processes start once; then sums that neither
# 32 bits nor, of integers, float64 would hold.
EVALUATING = """
import functools, json, sys
import jax
import numpy as np
from jaxseg import cli, hosts, ranking
hosts.connect = functools.cache(hosts.connect)
ranking.MARGIN = float(sys.argv[1])
*right, wrong = json.loads(sys.argv[2])
for words in right:
    assert cli.main([*words, *sys.argv[3:]]) == 0
index = jax.process_index()
assert hosts.gather_items([{"at": 0.1}] * index) == [{"at": 0.1}]
sums = hosts.add_up_arrays({"count": np.array([[2**60 + index]]), "total": np.array(0.1 + index)})
assert sums["count"].tolist() == [[2**61 + 1]] and sums["total"].tolist() == 0.1 + 1.1
cli.main([*wrong, *sys.argv[3:]])
"""


def test_processes_rank_and_score_masks_as_one(one_process_run, tmp_path, monkeypatch, capsys):
    """Seven images by two processes; then masks with a fault in the part of each."""
    margin = 0.05  # a run of 20 steps is not confident
    monkeypatch.setattr(ranking, "MARGIN", margin)
    source = data.load(check_config(load_config(one_process_run)).dataset, "val")
    names, rng = [source[i]["name"] for i in range(7)], np.random.default_rng(0)
    for folder in ("masks", "faulty"):
        (tmp_path / folder).mkdir()
        for name in names:
            mask = Image.fromarray(rng.integers(0, 5, (32, 32)).astype(np.uint8))
            mask.save(tmp_path / folder / f"{name}.png")
    for name in (names[1], names[2]):
        (tmp_path / "faulty" / f"{name}.png").unlink()

    def modes(workdir):
        words = ["evaluate", "--workdir", str(workdir)]
        by_masks = (["--predictions", str(tmp_path / kind)] for kind in ("masks", "faulty"))
        return [[*words, *more] for more in (["--step", "latest", "--rank"], *by_masks)]

    one, two = tmp_path / "one", tmp_path / "two"
    for workdir in (one, two):
        shutil.copytree(one_process_run, workdir)
    assert [cli.main(words) for words in modes(one)] == [0, 0, 2]
    printed = capsys.readouterr()
    script = [sys.executable, "-c", EVALUATING, str(margin), json.dumps(modes(two))]
    with together(script, 2, 1) as started:
        said = finish(started, 2)
    for words in printed.out.replace("/one", "/two").splitlines():
        assert words in said[0]
    faults = printed.err[printed.err.index(f"{tmp_path}/faulty can't") :]
    assert f"jaxseg: error: process 0 failed: {faults}" in said[0]
    assert ours(said[1]) == [f"jaxseg: error: process 0 failed: {tmp_path}/faulty can't be scored"]
    assert not any(name in said[1] for name in names)  # the first speaks for all
    ranked, by_two = (json.loads((w / "eval/val/20-rank.json").read_text()) for w in (one, two))
    assert len(ranked["regions"]) > 10
    assert by_two["examples"] == 7
    assert {region["index"] for region in ranked["regions"]} == set(range(7))
    assert by_two == ranked
    scores, by_two = (json.loads((w / "eval/val/masks-masks.json").read_text()) for w in (one, two))
    assert by_two["examples"] == 7
    assert by_two == scores


def test_a_signal_to_one_ends_the_evaluation_by_all(one_process_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(one_process_run, workdir)
    words = [sys.executable, "-m", "jaxseg.cli", "evaluate", "--workdir", str(workdir),
             "--config.dataset.val_examples=1000000"]  # fmt: skip
    with together(words, 2, 1) as started:
        assert started[0].stdout is not None
        first = iter(started[0].stdout.readline, "")
        assert any("unet evaluation step" in line for line in first)
        started[1].send_signal(signal.SIGTERM)
        said = finish(started, 143)
    for text in said:
        assert [line.split(";")[0] for line in ours(text)] == [
            "jaxseg: process 1: stopped by SIGTERM"
        ]
