"""The C library's allocator: what the program asks of it, and that this changes nothing else."""

import os
import subprocess
import sys

import pytest

from jaxseg.cli import allocator

MADVISE = "always [madvise] never"

KEEP = ":".join(
    f"glibc.malloc.{key}"
    for key in ("mmap_threshold=268435456", "trim_threshold=2147483648", "arena_max=1")
)

HUGE = "glibc.malloc.mmap_threshold=4194304:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    ("before", "libc", "huge_pages", "after"),
    [
        (None, "glibc 2.36", MADVISE, HUGE),
        ("glibc.rtld.nns=3", "glibc 2.41", MADVISE, f"glibc.rtld.nns=3:{HUGE}"),
        ("glibc.malloc.hugetlb=0", "glibc 2.36", MADVISE, None),  # somebody decided
        (HUGE, "glibc 2.36", MADVISE, None),
        (None, "glibc 2.36", "[always] madvise never", None),
        (None, "glibc 2.36", "always madvise [never]", KEEP),
        (None, "glibc 2.36", "", KEEP),  # no such file
        (None, "glibc 2.31", MADVISE, None),
        (None, "", MADVISE, None),
    ],
)
def test_the_allocator_uses_huge_pages_or_keeps_memory(before, libc, huge_pages, after):
    environment = {} if before is None else {"GLIBC_TUNABLES": before}
    assert allocator.wanted(environment, libc, huge_pages) == after


HERE = allocator.wanted({}, allocator.libc(), allocator.huge_pages())

glibc = pytest.mark.skipif(HERE is None, reason="another C library, or an old one")


@glibc
@pytest.mark.parametrize("tunables", [HERE, KEEP])
def test_memory_is_fetched_in_few_pages(tunables):
    """200 MB in a thread of its own, as XLA's threads allocate them, five times over."""
    source = """
import resource, threading
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=lambda: np.ones(25_000_000))
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(*(faults() for _ in range(5)))
"""
    environment = {**os.environ, "GLIBC_TUNABLES": tunables}
    words = [sys.executable, "-c", source]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    fetched = [int(word) for word in done.stdout.split()]
    assert max(fetched[1:]) < 2000  # 100 of 2 MB and some, or none; 49,000 of 4 KB


@glibc
def test_the_program_starts_anew_once_and_stays_itself(tmp_path):
    """The same process with the same words and input; a program of somebody else's does not."""
    source = """
import os, sys
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:], flush=True)
from jaxseg import cli
code = cli.main()
print(sys.stdin.read(), code)
"""
    for name in ("jaxseg", "other"):
        (tmp_path / name).write_text(source)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}

    def run(name, *words, **variables):
        done = subprocess.run(
            [sys.executable, str(tmp_path / name), *words], input="hello", text=True,
            env={**environment, **variables}, capture_output=True, check=True,
        )  # fmt: skip
        assert "train takes flags only, got a b" in done.stderr or words == ()
        return done.stdout.splitlines()

    first, second, end = run("jaxseg", "train", "a b")
    pid = first.split()[0]
    assert first == f"{pid} None train a b"
    assert second == f"{pid} {HERE} train a b"
    assert end == "hello 2"
    assert len(run("jaxseg", "train", "a b", GLIBC_TUNABLES="glibc.malloc.hugetlb=0")) == 2
    assert len(run("other", "train", "a b")) == 2
    assert len([line for line in run("jaxseg") if "None" in line]) == 1
