"""The state at step 0, and training that starts from `config.init_from`."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from jaxseg import checkpoint, data, initial, pretrained, runs
from jaxseg.config import check_config, store_config
from jaxseg.data.source import Cached
from jaxseg.errors import UserError
from jaxseg.ops.norm import GLOBAL
from jaxseg.program import build_program
from jaxseg.training import train_and_evaluate
from jaxseg.weights.imported import Imported, flatten


@pytest.fixture
def source(run_with_averages):
    return run_with_averages


@pytest.fixture
def config(config_with_averages, source):
    config = config_with_averages.copy_and_resolve_references()
    config.seed = 4
    config.init_from = str(source)
    return config


def state_of(workdir, step):
    return runs.open_run(workdir, step).state


def begin(config):
    source = data.load(check_config(config).dataset, "train")
    program = build_program(check_config(config), source.classes, announce=print)
    return program, initial.create(program, check_config(config), source)


def assert_equal(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_a_run_starts_from_what_evaluation_of_another_used(config, source, capsys):
    _, state = begin(config)
    averages = state_of(source, "best").eval_variables
    assert_equal(state.params, averages["params"])
    assert_equal(state.batch_stats, averages["batch_stats"])
    assert_equal(state.ema, averages)
    assert int(state.step) == 0
    assert "unet of" in capsys.readouterr().err


def test_importing_weights_compiles_nothing_but_the_initial_state(config):
    """A program for each shape, which JAX keeps, took 0.07 GB for MobileNetV2."""
    compiled = []

    def count(event, duration_secs, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        begin(config)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert len(compiled) == 1


def test_no_two_leaves_share_memory(config):
    """A step donates its state's memory, which can be donated only once."""
    _, state = begin(config)
    leaves = jax.tree.leaves(state)
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def test_a_run_of_another_upsampling_is_refused_with_flags(config, monkeypatch):
    """Nearest and bilinear have the same names and shapes."""
    imported = pretrained.load(config.init_from)
    other = dataclasses.replace(imported, options={**imported.options, "upsampling": "nearest"})
    monkeypatch.setattr(pretrained, "load", lambda source: other)
    config.model.upsampling = "bilinear"
    with pytest.raises(UserError, match=r"add --config\.model\.upsampling=nearest$"):
        begin(config)


def test_a_run_of_another_width_is_refused_with_flags(config):
    config.model.width = 3
    with pytest.raises(UserError, match=r"misshapen: .*: add --config\.model\.width=4, or change"):
        begin(config)


def test_training_starts_there_and_resumes_without_the_source(config, source, tmp_path):
    """After one tiny step parameters are still the source's; the source may then be deleted."""
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
    imported = pretrained.load(config.init_from)
    more = {path: np.repeat(v, 2, -1) for path, v in imported.variables.items() if "logits" in path}
    wider = dataclasses.replace(imported, variables={**imported.variables, **more})
    monkeypatch.setattr(pretrained, "load", lambda source: wider)
    _, state = begin(config)
    classes = imported.variables["params/logits/bias"].size
    said = capsys.readouterr().err
    assert f"logits re-initialised: {2 * classes} classes there, {classes} here" in said
    level = state.params["encoder"]["level0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(level, imported.variables["params/encoder/level0/conv1/kernel"])


def test_grey_gives_in_a_network_for_grey_what_it_gave_in_all_channels(config, source, capsys):
    """The first convolution is summed over RGB, and the report says so."""
    config.dataset.update(channels=1, mean=(117.0,), std=(57.0,))
    program, state = begin(config)
    said = capsys.readouterr().err
    assert "level0/conv1/kernel adapted from 3 to 1 input channels" in said
    assert "images were normalised with mean (" in said
    grey = jax.random.normal(jax.random.key(0), (1, 16, 16, 1))
    before = state_of(source, "best").eval_variables
    rgb, _ = program.model.apply(before, grey.repeat(3, -1), train=False)
    ours, _ = program.model.apply(state.eval_variables, grey, train=False)
    np.testing.assert_allclose(ours, rgb, atol=1e-5)


def test_classes_in_another_order_are_refused_unless_the_heads_stay_fresh(config, monkeypatch):
    imported = pretrained.load(config.init_from)
    swapped = (imported.class_names[1], imported.class_names[0], *imported.class_names[2:])
    other = dataclasses.replace(imported, class_names=swapped)
    monkeypatch.setattr(pretrained, "load", lambda source: other)
    with pytest.raises(UserError, match=r"label 0 is 'circle' there and 'background' here; .*init"):
        begin(config)
    config.init_fresh = ("logits",)
    _, state = begin(config)
    kernel = imported.variables["params/logits/kernel"]
    assert not np.array_equal(state.params["logits"]["kernel"], kernel)


def test_other_normalisation_is_refused_with_flags_to_paste(config):
    config.dataset.mean = (1.0, 2.0, 3.0)
    with pytest.raises(UserError, match=r'add --config.dataset.mean="\(123.675,116.28,103.53\)"$'):
        begin(config)


def test_patterns_without_a_source_are_a_mistake(config):
    config.init_from, config.init_fresh = "", ("logits",)
    with pytest.raises(UserError, match=r"init_fresh and init_unused need a config\.init_from"):
        begin(config)


def folded(imported: Imported) -> Imported:
    """As TF-Slim's are: batch norms that only add a bias."""
    values = dict(imported.variables)
    for path, value in values.items():
        kind = path.rpartition("/")[2]
        fill = {"scale": np.sqrt(1 + 1e-5), "mean": 0, "var": 1}.get(kind)
        if fill is not None:
            values[path] = np.full_like(value, fill)
    return dataclasses.replace(imported, variables=values, folded=True)


def test_folded_weights_get_statistics_and_compute_the_same(config, monkeypatch):
    source = folded(pretrained.load(config.init_from))
    monkeypatch.setattr(pretrained, "load", lambda _: source)
    program, state = begin(config)
    plain, _ = initial.with_weights(program, check_config(config), source)
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

    damaged = Damaged(data.load(check_config(config).dataset, "train"))
    with pytest.raises(UserError, match="example 3 can't be read"):
        list(initial._images(check_config(config), damaged))
    config.pipeline.on_unreadable = "skip"
    assert [images.shape for images in initial._images(check_config(config), damaged)] == [
        (8, 32, 32, 3)
    ] * 8


def test_a_converted_folded_run_is_measured_before_it_is_trained(
    config, source, tmp_path, monkeypatch
):
    """Training continues from what `jaxseg weights convert` wrote."""
    imported = folded(pretrained.load(config.init_from))
    shuffled = data.load(check_config(config).dataset, "train")
    program = build_program(check_config(config), shuffled.classes, announce=print)
    state, _ = initial.with_weights(program, check_config(config), imported)
    store_config(check_config(config), tmp_path)
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=2, announce=print)
    meta = {"step": 0, "config": config.to_dict(), "classes": shuffled.classes.to_dict()}
    checkpoints.save(state, {**meta, "folded": True})
    checkpoints.close()
    assert pretrained.load(str(tmp_path)).folded
    config.total_steps = 1
    train_and_evaluate(config, tmp_path, allow_config_change=True)
    assert "folded" not in checkpoint.load_meta(tmp_path / "checkpoints", "latest")
    stats = flatten({"b": state_of(tmp_path, "latest").batch_stats})
    measured = initial.measure_norms(program, check_config(config), state, shuffled).batch_stats
    for path, value in flatten({"b": measured}).items():  # one batch moves them by a tenth
        np.testing.assert_allclose(stats[path], value, rtol=0.1, atol=0.05)
