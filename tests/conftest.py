"""Every test runs on the CPU, which shows eight devices, with one compile cache for all of them."""

import functools
import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Test processes that start others share the cache with them.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jaxseg-test-cache-"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax
import pytest
from ml_collections import ConfigDict

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def tiny_config() -> ConfigDict:
    """The quickstart with a U-Net of a few thousand parameters on 32x32 images, for seconds."""
    # Imported here: what is imported before pytest is set up escapes the check of its shapes.
    from configs import quickstart

    config = quickstart.get_config("unet,width=4,depth=2")
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

    config = quickstart.get_config("unet,width=4,depth=2")
    config.update(total_steps=2, batch_size=8, num_predictions=0, ema_decay=0.5, seed=3)
    config.dataset.image_size = config.augment.crop_size = (32, 32)
    config.dataset.train_examples = config.dataset.val_examples = 8
    config.eval.update(every=2, batch_size=8)
    return config


@pytest.fixture(scope="session")
def run_with_averages(config_with_averages, tmp_path_factory):
    """The folder of a run of two steps, with moving averages."""
    from jaxseg.train import train_and_evaluate

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
