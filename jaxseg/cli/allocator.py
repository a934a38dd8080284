"""The C library's memory allocator, told how to get a training step's memory."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# `ld.so --list-tunables` lists and explains them.
# Pages of 2 MB, where Linux gives them to those who ask; freed blocks of 4 MB go back to Linux.
HUGE_PAGES = f"glibc.malloc.mmap_threshold={2**22}:glibc.malloc.hugetlb=1"
# Without them: freed blocks of up to 256 MB stay in the process, the free end of its heap goes back
# to Linux only beyond 2 GB, and what one thread has freed the others can use.
KEEP = (
    f"glibc.malloc.mmap_threshold={2**28}:glibc.malloc.trim_threshold={2**31}:"
    "glibc.malloc.arena_max=1"
)
COMMANDS = ("train", "evaluate", "predict", "report", "bench")


def use(command: str) -> None:
    """Start this program anew, once, with an allocator that suits it, if that is of use.

    On a CPU, XLA allocates the buffers of a step anew at each step. glibc by default hands large
    blocks back to Linux when they are freed, and the next step gets them page by page, each filled
    with zeros first: 100,000 pages of 4 KB in a step of a DeepLabv3+ on MobileNetV2, a third of its
    time. Pages of 2 MB make that cheap; where there are none, the process keeps its memory. Both at
    once made steps slower on two cores: of DeepLabv3+ on MobileNetV2 at 2x257x257 from 0.23 to
    0.31 s, of DeepLabv3 on ResNet-50 from 0.90 to 1.11 s, of a U-Net of 16 channels from 0.40 to
    0.44 s. CamVid's training (8x256x320, 300 steps, three evaluations) peaks at 3.6 GiB; keeping
    blocks of up to 32 MB, as glibc would, takes 0.2 GiB more.

    glibc reads GLIBC_TUNABLES when a process starts, and at no other time: hence the second start.
    It keeps the arguments, the process's number and its open files, and comes before anything slow
    is imported. Only our own program starts anew, not somebody's who calls `main`.
    """
    ours = Path(sys.argv[0]).stem == "jaxseg" or Path(sys.argv[0]).parent == Path(__file__).parent
    if command not in COMMANDS or not ours or not sys.executable:
        return
    tunables = wanted(os.environ, libc(), huge_pages())
    if tunables is not None:
        environment = {**os.environ, "GLIBC_TUNABLES": tunables}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def wanted(environment: Mapping[str, str], libc: str, huge_pages: str) -> str | None:
    """The GLIBC_TUNABLES to start anew with, or None where nothing is to change.

    Args:
      environment: of this process. If it says anything of glibc's allocator, that is left alone.
      libc: the C library, such as "glibc 2.36"; it needs 2.35.
      huge_pages: what Linux says of them, such as "always [madvise] never". Where it says
        "[always]", everyone has them unasked.
    """
    tunables = environment.get("GLIBC_TUNABLES", "")
    name, _, version = libc.partition(" ")
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35):
        return None
    if "glibc.malloc." in tunables:
        return None
    if "[always]" in huge_pages:
        return None
    ours = HUGE_PAGES if "[madvise]" in huge_pages else KEEP
    return ":".join(filter(None, (tunables, ours)))


def libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # another C library, or no POSIX
        return ""


def huge_pages() -> str:
    try:
        return Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return ""
