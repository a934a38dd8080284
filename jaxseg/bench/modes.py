"""What the benchmark of steps compares: jaxseg and, by device, PyTorch's modes."""

import dataclasses
from collections.abc import Mapping

JAXSEG = "jaxseg"


@dataclasses.dataclass(frozen=True)
class Mode:
    """How PyTorch runs a step."""

    layout: str = "channels_last"  # or "contiguous"
    compile: str = ""  # the mode of torch.compile; empty: eager


PYTORCH: Mapping[str, Mapping[str, Mode]] = {
    "cpu": {
        "contiguous": Mode("contiguous"),
        "channels_last": Mode(),
        "torch.compile": Mode(compile="default"),
    },
    "cuda": {
        "eager": Mode(),
        "torch.compile": Mode(compile="default"),
        "max-autotune": Mode(compile="max-autotune"),
    },
}


def fastest(seconds: Mapping[str, float]) -> str:
    """PyTorch's mode with the smallest time; empty where none ran."""
    modes = [name for name in seconds if name != JAXSEG]
    return min(modes, key=lambda name: seconds[name], default="")
