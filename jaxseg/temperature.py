"""Temperature scaling: one number by which logits are divided, so that probabilities are shares.

Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks" (ICML), section 4.2:
the temperature with the lowest negative log-likelihood on held-out pixels. It changes no predicted
class. The split that it was fitted on can't tell how well it works; another must.

One pass over the split adds up the likelihood at `TEMPERATURES`. It is convex in 1 / T, and the
minimum is that of the parabola, in log T, through the lowest of them and its two neighbours: within
0.5 % of the exact one.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxseg import evaluation, files
from jaxseg.data import pipeline
from jaxseg.data.source import Source
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.losses import WeightedSum, cross_entropy
from jaxseg.program import Program
from jaxseg.state import TrainState

FILE = "temperature.json"  # of a run's folder
TEMPERATURES = tuple(np.geomspace(0.1, 10, 41).tolist())


class Likelihoods(WeightedSum):
    """The negative log-likelihood of logits divided by each of `TEMPERATURES`, in nats.

    As a loss it is added up in bands: probabilities are never held at the labels' size.
    """

    def __init__(self, void: int) -> None:
        each = (1.0, cross_entropy.Loss())
        super().__init__({str(i): each for i in range(len(TEMPERATURES))}, void)

    def sums(
        self, logits: Float[Array, "b h w c"], labels: Int[Array, "b H W"], *, corners: str
    ) -> dict[str, Float[Array, "2"]]:
        nats = cross_entropy.Loss()

        def total(temperature: Float[Array, ""]) -> Float[Array, ""]:
            divided = logits.astype(jnp.float32) / temperature
            return nats.sum(divided, labels, void=self.void, corners=corners)

        # one after the other: the same band of logits, whose memory does not grow
        totals = jax.lax.map(total, jnp.asarray(TEMPERATURES, jnp.float32))
        count = nats.count(labels, void=self.void)
        return {str(i): jnp.stack([each, count]) for i, each in enumerate(totals)}


def fit(
    program: Program,
    config: Config,
    state: TrainState,
    source: Source,
    *,
    announce: Callable[[str], None] = print,
    watch: Callable[[Iterator[pipeline.Batch]], Iterator[pipeline.Batch]] = iter,
) -> dict[str, Any]:
    """The temperature that suits `state` on `source`; arguments as of `evaluation.evaluate`.

    Returns:
      "temperature"; "nll", nats per pixel with it, and "nll_before", without; "examples",
      "skipped" and "protocol".

    Raises:
      UserError: no pixel counts, the best temperature is beyond those tried, or images are seen by
        several views or by windows: what is fitted are the logits of the image as it is.
    """
    if not program.views.is_plain:
        raise UserError(
            "a temperature is fitted on whole images as they are, but config.eval has scales "
            f"{config.eval.scales}, flip {config.eval.flip} and window {config.eval.window}: give "
            '--config.eval.scales="(1.0,)" --config.eval.flip=False --config.eval.window=0'
        )
    loss = Likelihoods(program.loss.void)
    fitting = dataclasses.replace(
        program, evaluators={}, loss=loss, eval_step=program.evaluating({}, loss)
    )
    found = evaluation.evaluate(fitting, config, state, source, announce=announce, watch=watch)
    values = [found[f"loss/{name}"] for name in loss.losses]
    if None in values:
        raise UserError("no temperature can be fitted: not one pixel of the split counts")
    temperature, nll = minimum(values)
    return {
        "temperature": temperature,
        "nll": nll,
        "nll_before": values[len(values) // 2],  # at 1, in their middle
        "examples": found["examples"],
        "skipped": found["skipped"],
        "protocol": {
            **found["protocol"],
            "temperature": "lowest negative log-likelihood of pixels",
        },
    }


def minimum(values: list[float]) -> tuple[float, float]:
    """The temperature and the value at the minimum, of values at `TEMPERATURES`."""
    lowest = int(np.argmin(values))
    if lowest in (0, len(values) - 1):
        raise UserError(
            f"the best temperature is {TEMPERATURES[lowest]:g} or beyond: the model is not near "
            "calibration, or has learnt nothing yet"
        )
    near = slice(lowest - 1, lowest + 2)
    a, b, c = np.polyfit([-1, 0, 1], values[near], 2)
    offset = -b / (2 * a) if a > 0 else 0.0
    step = np.log(TEMPERATURES[1] / TEMPERATURES[0])
    return float(TEMPERATURES[lowest] * np.exp(offset * step)), float(c + b * offset / 2)


def store(workdir: Path, fitted: Mapping[str, Any], step: int, split: str) -> Path:
    """Write the run's `temperature.json`, whole or not at all."""
    path = workdir / FILE
    record = {"step": step, "split": split, **fitted}
    files.write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def stored(workdir: Path) -> float:
    """What `store` wrote; raises UserError if it did not."""
    path = workdir / FILE
    try:
        return float(json.loads(path.read_text())["temperature"])
    except FileNotFoundError:
        raise UserError(
            f"temperature is 'run', but there is no {path}: give a number, or fit one first"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f'{path} holds no {{"temperature": NUMBER}}: fit it again, or give a number'
        ) from None
