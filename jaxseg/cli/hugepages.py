"""Larger pages of memory for the command, where Linux has them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

TUNABLE = "glibc.malloc.hugetlb"
COMMANDS = ("train", "evaluate", "predict", "bench")


def use(command: str) -> None:
    """Start this program anew, once, with huge pages for what it allocates, if that is of use.

    On a CPU, XLA allocates the buffers of a step anew for each step, and the kernel then hands them
    out page by page: 31,000 times a step for the small U-Net of the quickstart in pages of 4 KB,
    2,000 times where they may be of 2 MB. glibc asks for those if GLIBC_TUNABLES says so when a
    process starts, and at no other time: hence the second start. It keeps the arguments, the
    process's number and its open files, and comes before anything slow is imported. Only our own
    program starts anew, not somebody's who calls `main`.
    """
    ours = Path(sys.argv[0]).stem == "jaxseg" or Path(sys.argv[0]).parent == Path(__file__).parent
    if command not in COMMANDS or not ours or not sys.executable:
        return
    tunables = wanted(os.environ, libc(), support())
    if tunables is not None:
        environment = {**os.environ, "GLIBC_TUNABLES": tunables}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def wanted(environment: Mapping[str, str], libc: str, support: str) -> str | None:
    """The GLIBC_TUNABLES to start anew with, or None where nothing is to change.

    Args:
      environment: of this process. What it says of huge pages stays, whatever it is.
      libc: the C library, such as "glibc 2.36"; it needs 2.35.
      support: what Linux says of huge pages, such as "always [madvise] never". Where it says
        "[always]", everyone has them unasked.
    """
    tunables = environment.get("GLIBC_TUNABLES", "")
    name, _, version = libc.partition(" ")
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35):
        return None
    if "[madvise]" not in support or TUNABLE in tunables:
        return None
    return ":".join(filter(None, (tunables, f"{TUNABLE}=1")))


def libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # another C library, or no POSIX
        return ""


def support() -> str:
    try:
        return Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return ""
