"""Every test runs on the CPU, which shows eight devices, with one compile cache for the whole run."""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp(prefix="jaxseg-test-cache-"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
