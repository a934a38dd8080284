"""Training that begins with `config.init_from`."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, data, models, weights
from jaxseg.config import load_config, store_config
from jaxseg.data.source import Cached, Classes
from jaxseg.errors import UserError
from jaxseg.ops.norm import GLOBAL
from jaxseg.program import build_program
from jaxseg.train import train_and_evaluate
from jaxseg.weights import initial
from jaxseg.weights.imported import Imported, flatten


@pytest.fixture(scope="module")
def _config_of_source():
    from configs import quickstart

    config = quickstart.get_config("unet,width=4,depth=2")
    config.update(total_steps=2, batch_size=8, num_predictions=0, ema_decay=0.5, seed=3)
    config.dataset.image_size = config.augment.crop_size = (32, 32)
    config.dataset.train_examples = config.dataset.val_examples = 8
    config.eval.update(every=2, batch_size=8)
    return config


@pytest.fixture(scope="module")
def source(_config_of_source, tmp_path_factory):
    """A run of two steps, with moving averages."""
    workdir = tmp_path_factory.mktemp("source")
    train_and_evaluate(_config_of_source, workdir)
    return workdir


@pytest.fixture
def config(_config_of_source, source):
    config = _config_of_source.copy_and_resolve_references()
    config.seed = 4
    config.init_from = str(source)
    return config


def state_of(workdir, step):
    config = load_config(workdir)
    folder = workdir / "checkpoints"
    classes = Classes.from_dict(checkpoint.load_meta(folder, step)["classes"])
    program = build_program(config, classes, announce=print)
    return checkpoint.load(folder, step, like=jax.eval_shape(program.init_state))[0]


def begin(config):
    source = data.load(config.dataset, "train")
    program = build_program(config, source.classes, announce=print)
    return program, initial.create(program, config, source)


def assert_equal(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_a_run_begins_with_what_evaluation_of_another_used(config, source, capsys):
    _, state = begin(config)
    averages = state_of(source, "best").eval_variables
    assert_equal(state.params, averages["params"])
    assert_equal(state.batch_stats, averages["batch_stats"])
    assert_equal(state.ema, averages)
    assert int(state.step) == 0
    assert "unet of" in capsys.readouterr().out


def test_no_two_leaves_share_memory(config):
    """A step gives the memory of its state away, and no memory can be given twice."""
    _, state = begin(config)
    leaves = jax.tree.leaves(state)
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_a_run_tells_all_options_but_those_of_training(source):
    imported = weights.load(str(source))
    known = {**models.options("unet"), "width": 4, "depth": 2}
    del known["dropout"]
    assert imported.options == known


def test_a_run_of_another_upsampling_is_refused_with_flags(config, monkeypatch):
    """Nearest and bilinear have the same names and shapes."""
    imported = weights.load(config.init_from)
    other = dataclasses.replace(imported, options={**imported.options, "upsampling": "nearest"})
    monkeypatch.setattr(weights, "load", lambda source: other)
    config.model.upsampling = "bilinear"
    with pytest.raises(UserError, match=r"add --config\.model\.upsampling=nearest$"):
        begin(config)


def test_a_run_of_another_width_is_refused_with_flags(config):
    config.model.width = 3
    with pytest.raises(UserError, match=r"misshapen: .*: add --config\.model\.width=4, or change"):
        begin(config)


def test_a_source_may_begin_with_the_home_folder(source, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.npz").touch()
    assert weights.locate("~/w.npz") == (tmp_path / "w.npz", {})
    shutil.copytree(source, tmp_path / "run")
    for name in ("~/run", "~/run@latest", "~/run@2"):
        assert weights.is_run(name)
        assert weights.load(name).variables.keys() == weights.load(str(source)).variables.keys()


def test_training_moves_on_from_there_and_resumes_without_the_source(config, source, tmp_path):
    """The first step's parameters lie one step from the source's; then the source may go."""
    moved = tmp_path / "moved"
    shutil.copytree(source, moved)
    config.init_from = f"{moved}@2"
    config.schedule.name, config.schedule.learning_rate = "constant", 1e-6
    config.schedule.warmup_steps = 0
    config.total_steps = 1
    train_and_evaluate(config, tmp_path / "run")
    stored = json.loads((tmp_path / "run/config.json").read_text())
    assert stored["init_from"] == config.init_from
    averages = flatten(state_of(source, 2).eval_variables)
    for path, value in flatten({"params": state_of(tmp_path / "run", 1).params}).items():
        np.testing.assert_allclose(value, averages[path], atol=1e-5)
    shutil.rmtree(moved)
    config.total_steps = 2
    train_and_evaluate(config, tmp_path / "run", allow_config_change=True)
    assert int(state_of(tmp_path / "run", "latest").step) == 2


def test_a_wrong_source_leaves_nothing_behind(config, tmp_path):
    for source in (str(tmp_path / "nothing.pth"), f"{config.init_from}@77"):
        config.init_from = source
        with pytest.raises(UserError):
            train_and_evaluate(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_other_classes_re_initialise_the_logits(config, capsys, tmp_path, monkeypatch):
    imported = weights.load(config.init_from)
    more = {path: np.repeat(v, 2, -1) for path, v in imported.variables.items() if "logits" in path}
    wider = dataclasses.replace(imported, variables={**imported.variables, **more})
    monkeypatch.setattr(weights, "load", lambda source: wider)
    _, state = begin(config)
    classes = imported.variables["params/logits/bias"].size
    said = capsys.readouterr().out
    assert f"logits re-initialised: {2 * classes} classes there, {classes} here" in said
    level = state.params["encoder"]["level0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(level, imported.variables["params/encoder/level0/conv1/kernel"])


def test_other_colours_are_refused_with_flags_to_paste(config):
    config.dataset.mean = (1.0, 2.0, 3.0)
    with pytest.raises(UserError, match=r'add --config.dataset.mean="\(123.675,116.28,103.53\)"$'):
        begin(config)


def test_patterns_without_a_source_are_a_mistake(config):
    config.init_from, config.init_fresh = "", ("logits",)
    with pytest.raises(UserError, match=r"init_fresh and init_unused need a config\.init_from"):
        begin(config)


def folded(imported: Imported) -> Imported:
    """As TF-Slim's come: batch norms that only add a bias."""
    values = dict(imported.variables)
    for path, value in values.items():
        kind = path.rpartition("/")[2]
        fill = {"scale": np.sqrt(1 + 1e-5), "mean": 0, "var": 1}.get(kind)
        if fill is not None:
            values[path] = np.full_like(value, fill)
    return dataclasses.replace(imported, variables=values, folded=True)


def test_folded_weights_get_statistics_and_compute_the_same(config, monkeypatch):
    source = folded(weights.load(config.init_from))
    monkeypatch.setattr(weights, "load", lambda _: source)
    program, state = begin(config)
    plain, _ = initial.with_weights(program, config, source)
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    model = program.model.clone(statistics=GLOBAL)
    before, after = (
        np.asarray(model.apply(s.eval_variables, images, train=False)[0]) for s in (plain, state)
    )
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    means = [v for p, v in flatten({"b": state.batch_stats}).items() if p.endswith("mean")]
    assert all(np.asarray(mean).any() for mean in means)
    _, again = begin(config)
    assert_equal(state, again)  # the calibration follows from the seed


def test_folded_norms_are_measured_without_what_cannot_be_read(config):
    class Damaged(Cached):
        def __getitem__(self, index, /):
            if index == 3:
                raise OSError("truncated")
            return super().__getitem__(index)

    damaged = Damaged(data.load(config.dataset, "train"))
    with pytest.raises(UserError, match="example 3 can't be read"):
        list(initial._images(config, damaged))
    config.pipeline.on_unreadable = "skip"
    assert [images.shape for images in initial._images(config, damaged)] == [(8, 32, 32, 3)] * 8


def test_a_converted_folded_run_is_measured_before_it_is_trained(
    config, source, tmp_path, monkeypatch
):
    """Where training continues from what `jaxseg weights convert` wrote."""
    imported = folded(weights.load(config.init_from))
    shuffled = data.load(config.dataset, "train")
    program = build_program(config, shuffled.classes, announce=print)
    state, _ = initial.with_weights(program, config, imported)
    store_config(config, tmp_path, allow_change=False)
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=2, announce=print)
    meta = {"step": 0, "config": config.to_dict(), "classes": shuffled.classes.to_dict()}
    checkpoints.save(state, {**meta, "evaluated": False, "folded": True}, miou=None)
    checkpoints.close()
    assert weights.load(str(tmp_path)).folded
    config.total_steps = 1
    train_and_evaluate(config, tmp_path, allow_config_change=True)
    assert "folded" not in checkpoint.load_meta(tmp_path / "checkpoints", "latest")
    stats = flatten({"b": state_of(tmp_path, "latest").batch_stats})
    measured = initial.measure_norms(program, config, state, shuffled).batch_stats
    for path, value in flatten({"b": measured}).items():  # moved a tenth of the way by one batch
        np.testing.assert_allclose(stats[path], value, rtol=0.1, atol=0.05)
