"""Compiled programs that outlive their process."""

import os
import random
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import compilation, parallel
from jaxseg.compilation import Announced

PROGRAM = """
import jax
from jaxseg import compilation
assert jax.config.jax_compilation_cache_dir is None or {chosen}, "importing changed it"
folder = compilation.cache()
with compilation.hits() as hits:
    jax.jit(lambda x: x * 3 + 1).lower(2.0).compile()
print(len(hits), folder)
"""


@pytest.fixture
def start(tmp_path):
    """Compiles a small program in a process of its own; returns the hits, folder and errors."""

    def run(**variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
        environment |= {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path), **variables}
        program = PROGRAM.format(chosen="JAX_COMPILATION_CACHE_DIR" in variables)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        hits, folder = done.stdout.split(maxsplit=1)
        return int(hits), folder.strip(), done.stderr

    return run


def test_the_second_process_finds_even_small_programs_of_the_first(start, tmp_path):
    hits, folder, said = start()
    assert (hits, said) == (0, "")
    assert folder.startswith(str(tmp_path))
    assert start() == (1, folder, "")


def test_a_program_that_was_cut_short_is_said_and_mended(start):
    _, folder, _ = start()
    (path,) = (p for p in os.scandir(folder) if "lambda" in p.name)
    os.truncate(path, 100)
    hits, _, said = start()
    assert hits == 0
    assert "failed in reading" in said
    assert said.count("\n") == 1
    assert start()[0] == 1


def test_the_variables_of_jax_decide(start, tmp_path):
    chosen = str(tmp_path / "chosen")
    assert start(JAX_COMPILATION_CACHE_DIR=chosen) == (0, chosen, "")
    assert start(JAX_COMPILATION_CACHE_DIR=chosen) == (1, chosen, "")
    assert start(JAX_ENABLE_COMPILATION_CACHE="false") == (0, "None", "")
    assert [p.name for p in tmp_path.iterdir()] == ["chosen"]


def test_a_folder_that_cannot_be_written_is_said_in_one_line(start, tmp_path):
    (tmp_path / "jaxseg").write_text("")
    for variables in ({}, {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jaxseg/xla")}):
        hits, folder, said = start(**variables)
        assert (hits, folder) == (0, "None")
        assert said.startswith(f"jaxseg: compiled programs can't be kept in {tmp_path}/jaxseg/xla")
        assert said.endswith(": Not a directory; going on without\n")
        assert said.count("\n") == 1


def test_the_programs_that_were_not_used_for_longest_go(tmp_path):
    for age, name in enumerate("abcd"):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    os.utime(tmp_path / "d-cache", (2e9, 1e8))  # the oldest, read since
    (tmp_path / "notes").write_bytes(bytes(1000))
    compilation.prune(tmp_path, 250)
    assert {p.name for p in tmp_path.iterdir()} == {"a-cache", "d-cache", "notes"}


@pytest.mark.parametrize("way", ["jit", "pmap"])
def test_a_step_says_what_it_compiled_how_long_and_from_where(way):
    made = parallel.create(way)
    batch = made.place({"image": np.zeros((8, 2, 2, 3))})
    state = made.place_state({"x": jnp.zeros(())})
    number = random.random()  # no program of an earlier test

    def step(state, batch, **_):
        return {"x": state["x"] + number}, {}, {}

    def announced():
        said = []
        return Announced(made.compile_eval(step), "a step", said.append), said

    least = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.values[least]
    jax.config.update(least, 0.0)
    try:
        for how in ("compiled", "from the cache"):
            jax.clear_caches()
            function, said = announced()
            for _ in range(2):  # the second time there is nothing to say
                assert float(function(state, batch)[0]["x"]) == pytest.approx(number)
            size = "x".join(map(str, batch["image"].shape))
            assert said[0] == f"compiling a step for images {size} ..."
            assert said[1:] == [f"a step: {how} in {function.compile_seconds:.1f} s"]
            assert function.compile_seconds > 0
    finally:
        jax.config.update(least, before)


def test_another_shape_compiles_again_and_its_time_is_added():
    function = Announced(jax.jit(lambda state, batch: state), "a step", lambda _: None)
    function(1.0, {"image": jnp.zeros((1, 2))})
    first = function.compile_seconds
    function(1.0, {"image": jnp.zeros((1, 2))})
    assert function.compile_seconds == first
    function(1.0, {"image": jnp.zeros((1, 3))})
    assert function.compile_seconds > first
