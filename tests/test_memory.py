"""What a step needs of memory, beside what there is."""

import dataclasses
import re
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import memory
from jaxseg.cli import allocator
from jaxseg.config import check_config
from jaxseg.parallel import Jit

GRADIENTS, EACH = 4_000, 1_000  # bytes, of the parameters and of an image's features


def compiled(images, arguments=10_000, output=500, alias=0):
    """A program whose working memory is linear in the images that it sees at once."""
    stats = types.SimpleNamespace(
        argument_size_in_bytes=arguments,
        output_size_in_bytes=output,
        alias_size_in_bytes=alias,
        temp_size_in_bytes=GRADIENTS - output + alias + images * EACH,
    )
    return types.SimpleNamespace(memory_analysis=lambda: stats)


STATE = types.SimpleNamespace(params={"kernel": np.zeros(GRADIENTS // 4, np.float32)})


@pytest.fixture
def config(tiny_config):
    tiny_config.batch_size = 12
    return check_config(tiny_config)


@pytest.fixture
def say(monkeypatch):
    """What is said of a step in a process that holds 40 kB and may hold `room`.

    10 kB more, as large as the arguments, are for saving them.
    """

    def run(config, room, *, devices=1, cached=0, evaluation=False):
        monkeypatch.setattr(memory, "resident", lambda: 40_000)
        monkeypatch.setattr(memory, "free", lambda: room - 40_000)
        monkeypatch.setattr(jax, "local_device_count", lambda: devices)
        monkeypatch.setattr(memory, "kept_below", lambda environment: 0)
        monkeypatch.setattr(memory, "RESERVE", 0)
        owner = mock.Mock(spec=Jit, platform="cpu", num_devices=devices)
        if evaluation:
            at_once = -(-config.eval.batch_size // devices)
            return memory.evaluation_forecast(config, owner)(compiled(at_once), {}, {})
        at_once = config.batch_size // devices // config.grad_accum_steps
        return memory.training_forecast(config, owner, cached)(compiled(at_once), STATE, {})

    return run


def number(pattern, text):
    found = re.search(pattern, text)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("room", range(55_500, 66_000, 700))
def test_the_suggested_batch_is_the_largest_that_fits(config, say, room):
    lines = say(config, room)
    needed = 50_000 + GRADIENTS + 12 * EACH
    assert lines[0].startswith("training needs about ")
    assert (len(lines) == 2) == (needed > room)
    if len(lines) == 2:
        batch = number(r"--config\.batch_size=(\d+)", lines[1])
        assert 50_000 + GRADIENTS + batch * EACH <= room < 50_000 + GRADIENTS + (batch + 1) * EACH
        parts = number(r"grad_accum_steps=(\d+)", lines[1])
        assert 12 % parts == 0
        assert 12 // parts <= batch
        assert f"batch norm then sees {12 // parts} image" in lines[1]


def test_on_several_devices_the_batch_stays_a_multiple_of_them(config, say):
    (_, warning) = say(config, 50_000 + 4 * (GRADIENTS + 2 * EACH), devices=4)
    assert "--config.batch_size=8," in warning  # two of three images each


def test_parts_that_are_in_use_already_are_taken_into_account(config, say):
    twice = dataclasses.replace(config, grad_accum_steps=2)
    (_, warning) = say(twice, 50_000 + GRADIENTS + 4 * EACH)
    assert "--config.batch_size=8," in warning  # two parts of four
    assert "--config.grad_accum_steps=3 " in warning


def test_where_no_image_fits_they_must_be_smaller(config, say):
    (_, warning) = say(config, 50_000 + GRADIENTS)
    assert warning.endswith("what fits: smaller images, by --config.augment.crop_size")


def test_blocks_that_the_heap_keeps_count(config, monkeypatch):
    monkeypatch.setattr(memory, "resident", lambda: 50_000)
    monkeypatch.setattr(memory, "free", lambda: 10**9)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    owner = mock.Mock(spec=Jit, platform="cpu", num_devices=1)
    needs = []
    for bound in (16_000, 16_001):
        monkeypatch.setenv("GLIBC_TUNABLES", f"glibc.malloc.mmap_threshold={bound}")
        monkeypatch.setattr(memory, "RESERVE", 0)
        found = memory.forecast(compiled(12), owner, cached=0)
        assert found is not None
        needs.append(found.need)
    assert needs == [76_000, 60_000 + 3 * 16_000]


@pytest.mark.parametrize(("huge_pages", "size"), [("[madvise]", 2**22), ("[never]", 2**28)])
def test_blocks_are_kept_as_the_allocator_was_told(huge_pages, size):
    tunables = allocator.wanted({}, "glibc 2.36", huge_pages)
    assert tunables is not None
    assert memory.kept_below({"GLIBC_TUNABLES": tunables}) == size
    assert memory.kept_below({}) == 2**25


def test_cached_examples_count(config, say):
    room = 50_000 + GRADIENTS + 12 * EACH
    assert len(say(config, room)) == 1
    assert len(say(config, room, cached=1)) == 2


def test_evaluation_is_spoken_of_only_if_it_does_not_fit(config, say):
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, batch_size=8))
    assert say(config, 50_000 + GRADIENTS + 8 * EACH, evaluation=True) == []
    (line,) = say(config, 50_000 + GRADIENTS + 4 * EACH, evaluation=True)
    assert re.fullmatch(r"warning: evaluation needs .*what fits: --config.eval.batch_size=\d", line)


def test_on_a_gpu_it_is_the_devices_memory(config, monkeypatch):
    owner = mock.Mock(spec=Jit, platform="gpu", num_devices=1)
    for limit, lines in ((26_000, 1), (25_999, 2), (0, 0)):
        stats = {"bytes_in_use": 9_000, "bytes_limit": limit}
        device = mock.Mock(memory_stats=lambda stats=stats: stats)
        monkeypatch.setattr(jax, "local_devices", lambda device=device: [device])
        # the state is updated in place: its output is the arguments' memory
        program = compiled(12, output=9_500, alias=9_500)
        assert len(memory.training_forecast(config, owner, 0)(program, STATE, {})) == lines


def test_a_compiler_that_does_not_tell_is_not_asked_twice(config):
    owner = mock.Mock(spec=Jit, platform="cpu", num_devices=1)
    program = types.SimpleNamespace(memory_analysis=lambda: None)
    assert memory.training_forecast(config, owner, 0)(program, STATE, {}) == []


def test_the_compilers_own_analysis():
    """Of a program whose only temporary has 4 MB."""

    def outer(x):
        return jnp.sort(x[:, None] * x[None])[0]

    program = jax.jit(outer).lower(jnp.ones(1000)).compile()
    found = memory.step_bytes(program)
    assert found is not None
    arguments, working = found
    assert arguments == 4000
    assert 4e6 <= working <= 12.1e6


GROUPS = {
    "version 2": ("0::/user/job\n", "", "memory.max", "memory.current", "inactive_file"),
    "version 1": (
        "5:cpu:/elsewhere\n4:memory,hugetlb:/user/job\n", "memory", "memory.limit_in_bytes",
        "memory.usage_in_bytes", "total_inactive_file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", GROUPS)
def test_limits_of_the_control_groups_above_count(tmp_path, version):
    text, top, limit, usage, droppable = GROUPS[version]
    own = tmp_path / "own"
    own.write_text(text)
    mounted = tmp_path / "mounted"
    job = mounted / top / "user/job"
    job.mkdir(parents=True)
    for folder, most in ((job, "max"), (job.parent, "9000")):
        (folder / limit).write_text(most + "\n")
        (folder / usage).write_text("5000\n")
        (folder / "memory.stat").write_text(f"anon 1\n{droppable} 700\n")
    assert list(memory._group_memory(mounted, own)) == [4700]
    (job / limit).write_text("6000")
    assert sorted(memory._group_memory(mounted, own)) == [1700, 4700]


def test_in_a_container_the_mounted_group_is_the_own_one(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/not/visible/here\n")
    (tmp_path / "memory.max").write_text("1000")
    (tmp_path / "memory.current").write_text("400")
    assert list(memory._group_memory(tmp_path, own)) == [600]
    assert list(memory._group_memory(tmp_path, tmp_path / "missing")) == []


def test_this_process_holds_some_and_can_get_some():
    assert 2**20 < memory.resident() < 2**45
    assert 0 < memory.free() < 2**50


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_peak_of_a_process_is_its_own():
    """Not that of its parent, which Linux counts to `ru_maxrss`."""
    ballast = np.ones(2**27)
    code = "from jaxseg import memory; print(memory.peak_resident())"
    words = [sys.executable, "-c", code]
    found = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert 2**20 < found < ballast.nbytes < memory.peak_resident()


def test_examples_that_are_cached(tiny_config):
    source = mock.MagicMock(__len__=lambda _: 3, size=lambda i: (10, 20 + i))
    for cache, size in ((True, 7 * 10 * (20 + 21 + 22)), (False, 0)):
        tiny_config.dataset.cache = cache
        assert memory.cached_bytes(check_config(tiny_config), [source]) == size
    tiny_config.dataset.update(cache=True, bits=16)
    assert memory.cached_bytes(check_config(tiny_config), [source]) == 10 * 10 * (20 + 21 + 22)
