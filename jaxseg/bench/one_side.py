"""One side of the benchmark of steps in a process of its own, whose memory is measured.

    python -m jaxseg.bench.one_side SIDE SETTING TABLE

SIDE is "jaxseg" or a mode of PyTorch's, SETTING the JSON of a `Setting`, TABLE the file of
lowerings. Prints JSON: "device_peak", the most bytes that the library's allocator had given out in
a step on a GPU, else null, and "imports", the resident bytes of what PyTorch's side imports for
nothing but the tables of its networks, which are jaxseg's.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxseg.bench.modes import JAXSEG, PYTORCH

STEPS = 3


def main(argv: Sequence[str]) -> None:
    name, text, table = argv
    setting = json.loads(text)
    run = _jaxseg if name == JAXSEG else _torch
    print(json.dumps(run(name, setting, Path(table))))


def _jaxseg(name: str, setting: dict[str, Any], table: Path) -> dict[str, Any]:
    import jax

    from jaxseg.bench.jaxseg_side import JaxsegSide
    from jaxseg.bench.setting import Setting
    from jaxseg.ops import lowering

    lowering.TABLE = table
    JaxsegSide(Setting(**setting)).run(STEPS)
    statistics = jax.local_devices()[0].memory_stats() or {}
    return {"device_peak": statistics.get("peak_bytes_in_use"), "imports": 0}


def _torch(name: str, setting: dict[str, Any], table: Path) -> dict[str, Any]:
    import torch  # pyright: ignore[reportMissingImports]

    before = resident()
    from jaxseg.bench.setting import Setting
    from jaxseg.bench.torch_side import TorchSide

    imports = resident() - before
    side = TorchSide(Setting(**setting), PYTORCH[setting["device"]][name])
    side.run()
    if setting["device"] == "cuda":
        torch.cuda.reset_peak_memory_stats()  # the trial of algorithms is over
    side.run(STEPS - 1)
    peak = torch.cuda.max_memory_allocated() if setting["device"] == "cuda" else None
    return {"device_peak": peak, "imports": imports}


def resident() -> int:
    """Bytes of this process; 0 where the system has no /proc."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


if __name__ == "__main__":
    main(sys.argv[1:])
