"""`jaxseg bench`."""

import importlib
from collections.abc import Sequence

from jaxseg.errors import UserError

# name: its module in jaxseg/bench, which has a `main`
BENCHMARKS = {
    "ops": "ops",
    "steps": "steps",
    "collectives": "collectives",
    "data": "pipeline",
}


def bench(argv: Sequence[str]) -> None:
    """Measure speed on this machine, beside PyTorch where it is installed.

    jaxseg bench ops [--ops conv,resize] [--dtypes float32,bfloat16] [--seconds 1] [--write]
    jaxseg bench steps [--models unet,...] [--mode train,predict] [--batch N] [--size N]
                       [--dtype float32] [--pytorch torch.compile,...] [--seconds 10]
                       [--skip_memory]
    jaxseg bench collectives [--config FILE[:ARG]] [--devices 1,2,4,8] [--config.KEY=VALUE ...]
    jaxseg bench data [--workers 2] [--seconds 30]

      ops            each operation in each of its lowerings, forward and with gradients
      steps          steps of training and prediction, and peak memory: on a CPU of the whole
                     process, for training that of `jaxseg train` itself; on a GPU of the device
      collectives    what devices exchange in a training step, on virtual CPU devices; of the
                     quickstart's U-Net, or of a config
      data           the input pipeline: images per second up to each of its stages, and memory
                     over ten epochs
      --pytorch A,B  the modes of PyTorch to compare with: contiguous, channels_last,
                     torch.compile; on a GPU eager, torch.compile, max-autotune
      --seconds N    how long to repeat: for `ops` per case, else in all
      --write        store the fastest lowerings for this kind of device in the table that jaxseg
                     uses: jaxseg/ops/lowerings.json
      --json PATH    every number, with command, commit, versions, machine and date
      --markdown     a Markdown table, as in experiments/benchmarks/README.md

    Example:
      jaxseg bench ops --ops depthwise_conv
    """
    if not argv or argv[0] not in BENCHMARKS:
        given = repr(argv[0]) if argv else "nothing"
        raise UserError(f"jaxseg bench: expected {', '.join(BENCHMARKS)}, got {given}")
    module = importlib.import_module(f"jaxseg.bench.{BENCHMARKS[argv[0]]}")
    module.main(argv[1:])
