import contextlib
import dataclasses
import json
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.experimental import multihost_utils

from jaxseg import checkpoint, manifest
from jaxseg.checkpoint import Checkpoints
from jaxseg.errors import UserError
from jaxseg.state import TrainState


def make_state(step):
    params = {"encoder": {"kernel": jnp.full((40, 50), step + 0.1)}}
    tx = optax.adamw(1e-3)
    stats = {"norm": {"mean": jnp.full(3, step * 1.5)}}
    return TrainState(
        jnp.int32(step), params, stats, tx.init(params), {"params": params, "batch_stats": stats}
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def save(folder, *steps_and_miou, keep=2, said=None):
    checkpoints = Checkpoints(folder, keep=keep, announce=(said if said is not None else []).append)
    for step, miou in steps_and_miou:
        checkpoints.save(make_state(step), {"step": step, "note": f"s{step}"})
        if miou is not None:
            checkpoints.record(step, {"miou": miou})
    checkpoints.close()


def steps(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_what_was_saved_comes_back_bit_for_bit(folder):
    save(folder, (3, 0.5))
    state, meta = checkpoint.load(folder, "latest", like=jax.eval_shape(lambda: make_state(0)))
    assert meta == {"step": 3, "note": "s3"}
    assert jax.tree.structure(state) == jax.tree.structure(make_state(3))
    jax.tree.map(np.testing.assert_array_equal, state, make_state(3))
    assert checkpoint.load_meta(folder, 3) == meta


def test_saving_does_not_ask_jax_whether_to_stop(folder, monkeypatch):
    """`Stop` counts how often it asks; JAX would take Orbax's step for such a number."""
    asked = []
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", asked.append)
    save(folder, (3, 0.5), (4, None))
    assert steps(folder) == [3, 4]
    assert asked == []


def test_the_latest_and_the_best_are_kept(folder):
    save(folder, (1, 0.2), (2, 0.9), (3, 0.3), (4, None), (5, 0.4))
    assert steps(folder) == [2, 4, 5]
    assert checkpoint.find(folder, "best") == 2
    assert checkpoint.find(folder, "latest") == 5
    assert checkpoint.find(folder, "4") == 4


def test_a_step_is_saved_once_and_its_score_comes_to_it_later(folder):
    save(folder, (1, 0.2), (2, None))
    written = (folder / "2" / manifest.MANIFEST).stat().st_mtime_ns
    assert checkpoint.find(folder, "best") == 1
    save(folder, (2, 0.9))
    assert checkpoint.find(folder, "best") == 2
    assert (folder / "2" / manifest.MANIFEST).stat().st_mtime_ns == written


def test_an_undefined_score_is_no_best_one(folder):
    checkpoints = Checkpoints(folder, keep=2, announce=print)
    for step, miou in ((1, 0.0), (2, None)):
        checkpoints.save(make_state(step), {"step": step})
        checkpoints.record(step, {"miou": miou})
        assert checkpoints.is_evaluated(step)
    checkpoints.close()
    assert checkpoint.find(folder, "best") == 1


def test_a_step_is_the_best_by_the_metric_that_was_asked_for(folder):
    for metric, higher, best in (("boundary_f", True, 3), ("loss", False, 2)):
        shown = folder / metric
        checkpoints = Checkpoints(
            shown, keep=2, announce=print, metric=metric, higher_is_better=higher
        )
        for step, value in ((1, 0.5), (2, 0.2), (3, 0.9), (4, 0.4), (5, None)):
            checkpoints.save(make_state(step), {"step": step})
            checkpoints.record(step, {"miou": 1 / step, metric: value})
        checkpoints.close()
        assert checkpoint.find(shown, "best") == best
        assert steps(shown) == [best, 4, 5]


def test_a_run_that_goes_on_with_another_metric_compares_what_has_it(folder):
    """Scores of before `best_metric` existed are mIoU."""
    save(folder, (1, 0.9), (2, 0.1), keep=4)
    (folder / "1" / manifest.SCORES).write_text('{"miou": 0.9}')
    assert checkpoint.find(folder, "best") == 1
    checkpoints = Checkpoints(folder, keep=4, announce=print, metric="loss", higher_is_better=False)
    for step, value in ((3, 0.1), (4, 0.2)):
        checkpoints.save(make_state(step), {"step": step})
        checkpoints.record(step, {"miou": 0.0, "loss": value})
    checkpoints.close()
    assert checkpoint.find(folder, "best") == 3


def test_scores_in_the_manifest_of_an_earlier_version_count(folder):
    save(folder, (1, None), (2, None))
    path = folder / "1" / manifest.MANIFEST
    path.write_text(json.dumps({"miou": 0.7, **json.loads(path.read_text())}))
    assert checkpoint.find(folder, "best") == 1


def test_nothing_whole_is_deleted_before_what_replaces_it_is_sealed(folder, monkeypatch):
    """Whenever a step is deleted, at least two others are whole and sealed."""
    deleted = []
    delete = ocp.CheckpointManager.delete

    def watched(manager, step):
        rest = sorted(set(steps(folder)) - {step})
        sealed = [s for s in rest if (folder / str(s) / manifest.MANIFEST).exists()]
        assert all(manifest.damage(folder / str(s)) is None for s in rest)
        assert sealed == rest
        assert len(rest) >= 2
        deleted.append(step)
        delete(manager, step)

    monkeypatch.setattr(ocp.CheckpointManager, "delete", watched)
    save(folder, (1, 0.2), (2, 0.9), (3, 0.3), (4, None), (5, 0.4), (6, 0.95), (7, None), (8, 0.1))
    assert deleted == [1, 3, 4, 2, 5]
    assert steps(folder) == [6, 7, 8]


def flip_a_byte(folder):
    path = max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(folder):
    path = max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    path.write_bytes(path.read_bytes()[:-10])


def empty(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.mark.parametrize("harm", [flip_a_byte, truncate, empty])
def test_a_damaged_step_is_named_and_the_newest_whole_one_is_used(folder, harm):
    save(folder, (1, 0.1), (2, 0.2))
    harm(folder / "2")
    (folder / "damaged-2").mkdir()  # of an earlier misfortune
    assert checkpoint.find(folder, "latest") == 1
    assert checkpoint.find(folder, "best") == 1
    with pytest.raises(UserError, match=r"checkpoints/2 is damaged"):
        checkpoint.find(folder, "2")
    said = []
    checkpoints = Checkpoints(folder, keep=2, announce=said.append)
    assert checkpoints.latest_step() == 1
    assert "step 2 is damaged" in said[0]
    assert (folder / "damaged-2.1").is_dir()  # set aside, not lost
    checkpoints.save(make_state(2), {"step": 2})
    checkpoints.close()
    assert checkpoint.find(folder, "latest") == 2


@contextlib.contextmanager
def files_of_at_most(size):
    """To whoever writes, this looks much like a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_named_and_leaves_what_was_saved(folder):
    save(folder, (1, 0.5))
    checkpoints = Checkpoints(folder, keep=2, announce=print)
    noise = np.random.default_rng(0).normal(size=(400, 500))  # which can't be compressed
    state = dataclasses.replace(make_state(2), params={"encoder": {"kernel": jnp.asarray(noise)}})
    said = r"step 2 could not be written to .*\(File too large\): make room .* step 1 is kept"
    with files_of_at_most(100_000):
        checkpoints.save(state, {"step": 2})  # goes on beside training
        with pytest.raises(UserError, match=said):
            checkpoints.close()
    assert checkpoint.find(folder, "latest") == 1
    loaded, _ = checkpoint.load(folder, 1, like=jax.eval_shape(lambda: make_state(0)))
    jax.tree.map(np.testing.assert_array_equal, loaded, make_state(1))
    save(folder, (2, 0.6))  # there is room again
    assert checkpoint.find(folder, "latest") == 2


def test_a_commit_killed_before_its_manifest_still_counts(folder):
    save(folder, (1, 0.1), (2, 0.2))
    (folder / "2" / manifest.MANIFEST).unlink()
    assert checkpoint.find(folder, "latest") == 2


def test_what_is_not_there_is_refused_with_what_is(folder):
    with pytest.raises(UserError, match="no checkpoint in"):
        checkpoint.find(folder, "latest")
    save(folder, (1, 0.1), (2, 0.2))
    with pytest.raises(UserError, match="known: best, latest, 1, 2"):
        checkpoint.find(folder, "7")


def test_the_manifest_lists_every_file(folder):
    save(folder, (1, 0.1))
    listed = set(json.loads((folder / "1" / manifest.MANIFEST).read_text())["sha256"])
    files = {str(p.relative_to(folder / "1")) for p in (folder / "1").rglob("*") if p.is_file()}
    assert listed == files - {manifest.MANIFEST, manifest.SCORES}


def test_another_model_is_refused_in_one_line(folder):
    save(folder, (1, 0.1))
    wider = dataclasses.replace(make_state(1), params={"encoder": {"kernel": jnp.zeros((40, 51))}})
    other = dataclasses.replace(make_state(1), batch_stats={})
    for like in (wider, other):
        with pytest.raises(UserError, match="does not fit this config's model") as error:
            checkpoint.load(folder, "latest", like=like)
        assert "\n" not in str(error.value)


def test_a_relative_folder_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(Path("runs/checkpoints"), (1, 0.1))
    state, _ = checkpoint.load(Path("runs/checkpoints"), "best", like=make_state(0))
    assert state.step == 1
