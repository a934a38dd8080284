"""What `gpu.py` hands back: few files, none of them large."""

import tarfile
from pathlib import Path

RESULTS = "results.tar.gz"
MOST_BYTES = 15 * 2**20  # of a file
MOST_CACHES = 4  # so many files of compiled programs, 60 MiB


def pack_results(work: Path, out: Path) -> None:
    """WORK's results and logs as OUT/results.tar.gz, and the page to read beside it."""
    partial = out / f"{RESULTS}.partial"
    with tarfile.open(partial, "w:gz") as archive:
        for path in sorted(work.iterdir()):
            if path.is_file():
                archive.add(path, path.name)
    partial.replace(out / RESULTS)
    (out / "results.md").write_text((work / "results.md").read_text())


def pack_cache(cache: Path, out: Path) -> None:
    """The compiled programs as OUT/cache-N.tar, small ones first; what does not fit is left out."""
    for old in out.glob("cache-*.tar"):
        old.unlink()
    files = sorted((path for path in cache.rglob("*") if path.is_file()), key=_padded)
    for number in range(MOST_CACHES):
        taken, total = [], 10240  # a tar's end
        while files and total + _padded(files[0]) < MOST_BYTES:
            total += _padded(files[0])
            taken.append(files.pop(0))
        if not taken:
            break
        with tarfile.open(out / f"cache-{number}.tar", "w") as archive:
            for path in taken:
                archive.add(path, Path("cache") / path.relative_to(cache))


def _padded(path: Path) -> int:
    """Bytes of the file in a tar, long names included."""
    return -(-path.stat().st_size // 512) * 512 + 2048


def unpack(source: Path, work: Path) -> None:
    """What `pack_results` and `pack_cache` wrote into a folder, if it has any, into WORK."""
    for path in [*source.glob(RESULTS), *sorted(source.glob("cache-*.tar"))]:
        with tarfile.open(path) as archive:
            archive.extractall(work, filter="data")
