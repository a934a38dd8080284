"""Every test runs on the CPU, which shows eight devices, with one compile cache for all of them.

The cache outlives the run, in the user's cache folder; the durations of the tests lie beside it, by
which the next run gives the longest files out first.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs

MAX_BYTES = 2**30
MAX_AGE = 30 * 86400  # seconds; of caches of other versions


def _key() -> str:
    """Of what compiled programs depend on: the pinned versions, Python and the CPU."""
    about = [platform.python_version(), *(metadata.version(name) for name in ("jax", "jaxlib"))]
    if (cpu := Path("/proc/cpuinfo")).exists():
        first = cpu.read_text().split("\n\n")[0]
        about += re.findall(r"^(?:model name|flags|Features|CPU part).*", first, re.MULTILINE)
    digest = hashlib.sha256("\n".join(about).encode()).hexdigest()[:8]
    return f"{platform.machine()}-{digest}"


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
CACHES = platformdirs.user_cache_path("jaxseg") / "tests"
# Test processes that start others share the cache with them.
CACHE = Path(os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHES / _key())))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
DURATIONS = CACHE / "durations.json"  # seconds of each test, where it ran last

# Before anything that imports absl: submitit resets logging, at which absl's handler closes its
# stream, and that is the file in which pytest captures output.
with contextlib.suppress(ImportError):
    import submitit  # noqa: F401

import jax
import pytest
from ml_collections import ConfigDict

jax.config.update("jax_num_cpu_devices", 8)
pytest.register_assert_rewrite("tests.processes")
_measured: dict[str, float] = {}


def _durations() -> dict[str, float]:
    try:
        return json.loads(DURATIONS.read_text())
    except (OSError, ValueError):
        return {}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest file first, so that two workers are done at about the same time."""
    if not hasattr(config, "workerinput"):
        return
    known, seconds = _durations(), dict[Path, float]()
    for item in items:
        seconds[item.path] = seconds.get(item.path, 0.0) + known.get(item.nodeid, 1.0)
    items.sort(key=lambda item: -seconds[item.path])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _measured[report.nodeid] = _measured.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return
    from jaxseg import compilation, files

    CACHE.mkdir(parents=True, exist_ok=True)
    files.write_text(DURATIONS, json.dumps({**_durations(), **_measured}, indent=0))
    if CACHE.parent == CACHES:  # not one that somebody named
        compilation.prune(CACHE, MAX_BYTES)
        os.utime(CACHE)
        for other in CACHES.iterdir():
            if time.time() - other.stat().st_mtime > MAX_AGE:
                shutil.rmtree(other, ignore_errors=True)


@pytest.fixture
def tiny_config() -> ConfigDict:
    """The quickstart with a U-Net of a few thousand parameters on 32x32 images, for seconds."""
    # Imported here: what is imported before pytest is set up escapes the check of its shapes.
    from configs import quickstart

    config = quickstart.get_config("unet,width=4,depth=1")
    config.total_steps = 6
    config.batch_size = 8
    config.log_every = 1
    config.dataset.image_size = (32, 32)
    config.dataset.train_examples = 20
    config.dataset.val_examples = 7
    config.augment.crop_size = (32, 32)
    config.eval.every = 3
    config.eval.batch_size = 8
    config.checkpoint.every = 2
    config.num_predictions = 1
    return config


@pytest.fixture(scope="session")
def config_with_averages() -> ConfigDict:
    from configs import quickstart

    config = quickstart.get_config("unet,width=4,depth=1")
    config.update(total_steps=2, batch_size=8, num_predictions=0, ema_decay=0.5, seed=3)
    config.dataset.image_size = config.augment.crop_size = (32, 32)
    config.dataset.train_examples = config.dataset.val_examples = 8
    config.eval.update(every=2, batch_size=8)
    return config


@pytest.fixture(scope="session")
def run_with_averages(config_with_averages, tmp_path_factory):
    """The folder of a run of two steps, with moving averages."""
    from jaxseg.training import train_and_evaluate

    workdir = tmp_path_factory.mktemp("run_with_averages")
    train_and_evaluate(config_with_averages, workdir)
    return workdir


@pytest.fixture
def one_device(monkeypatch):
    """Whatever compiles in this test does so for the first device alone, which is quicker."""
    from jaxseg import parallel

    make = functools.partial(parallel.create, devices=jax.devices()[:1])
    monkeypatch.setattr(parallel, "create", make)


@pytest.fixture(scope="session")
def run_compiled():
    """Call a function under jit. Each program runs once: unoptimized, it compiles twice as fast."""

    def run(function, *args):
        options: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
        return jax.jit(function).lower(*args).compile(compiler_options=options)(*args)

    return run


@pytest.fixture(scope="session")
def one_conv():
    """Makes (model, variables, images -> logits, compiled for each size) of one convolution.

    Its logits are at `stride`, or of the inner pixels alone, and not symmetric. NumPy can do
    everything around it again.
    """
    import flax.linen as nn
    import jax.numpy as jnp
    import numpy as np

    from jaxseg.models.contract import CoversImage
    from jaxseg.ops.norm import GLOBAL, Statistics

    class OneConv(CoversImage, nn.Module):
        stride: int = 4
        corners: str = "half_pixel"
        context: int = 0
        num_classes: int = 3
        dtype: Any = jnp.float32
        statistics: Statistics = GLOBAL
        remat: bool = False

        @property
        def interpolation(self):
            return self.stride, self.corners

        def fit(self, size):
            return max(size, 2 * self.context + 1)

        @nn.compact
        def __call__(self, images, *, train: bool):
            padding = "VALID" if self.context else "SAME"
            conv = nn.Conv(self.num_classes, (3, 3), self.stride, padding, name="conv")
            return 3 * jnp.sin(conv(images)), {}

    def make(**options):
        model, rng = OneConv(**options), np.random.default_rng(0)
        conv = {
            "kernel": jnp.asarray(rng.normal(size=(3, 3, 3, model.num_classes)), jnp.float32),
            "bias": jnp.asarray(rng.normal(size=model.num_classes), jnp.float32),
        }
        variables = {"params": {"conv": conv}}
        return model, variables, jax.jit(lambda x: model.apply(variables, x, train=False)[0])

    return make


@pytest.fixture(scope="session")
def scores_of():
    """The scores of an evaluator on (prediction, label) pairs, each of any size."""
    # Imported here: what is imported before pytest is set up escapes the check of its shapes.
    import jax.numpy as jnp
    import numpy as np

    from jaxseg.evaluators import OnHost, PerImage, Summed

    def score(evaluator, pairs):
        if isinstance(evaluator, OnHost):
            rows = [np.float64(evaluator.measure(*pair)) for pair in pairs]
            return evaluator.compute(np.array(rows) if rows else np.zeros((0, 0)))
        found = []
        for prediction, label in pairs:
            batch = {"label": jnp.asarray(label[None]), "mask": jnp.ones(1, bool)}
            found.append((jnp.asarray(prediction[None]), batch))
        if isinstance(evaluator, PerImage):
            rows = [np.asarray(evaluator.rows(*each), np.float64)[0] for each in found]
            return evaluator.compute(np.array(rows) if rows else np.zeros((0, 0)))
        assert isinstance(evaluator, Summed)
        total = evaluator.init()
        for each in found:
            total = total + np.asarray(evaluator.update(*each))
        return evaluator.compute(total)

    return score


@pytest.fixture(scope="session")
def one_process_run(tmp_path_factory):
    """The run of `processes.py` by one process with one device."""
    from tests.processes import command

    workdir = tmp_path_factory.mktemp("one_process_run")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run(command(workdir), env=environment, capture_output=True, check=True)
    return workdir
