"""Scores of masks that any program made: a folder of files, judged by the rules of an evaluation.

Each labelled example of the split needs one file in the folder, or in a folder below it, that has
its name and holds class indices as `jaxseg predict` writes them (`mask_files.read_mask`), of the
label's size. A mask may hold classes alone: void is no answer.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from jaxseg import evaluation, evaluators, hosts
from jaxseg.collection import Collection
from jaxseg.data import pipeline
from jaxseg.data.mask_files import read_mask
from jaxseg.data.source import Classes, Source
from jaxseg.defaults import Config
from jaxseg.errors import UserError
from jaxseg.evaluators import Evaluator

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
TOLD = 10  # faults that are listed


def evaluate(
    folder: Path,
    config: Config,
    source: Source,
    *,
    announce: Callable[[str], None] = print,
    watch: Callable[[Iterator[pipeline.Batch]], Iterator[pipeline.Batch]] = iter,
) -> tuple[dict[str, Any], dict[str, Evaluator]]:
    """The scores of the masks in `folder` over `source`, and the evaluators that gave them.

    Other arguments as of `evaluation.evaluate`; masks are read one batch at a time, and each
    process reads and measures its own part.

    Raises:
      UserError: an evaluator needs probabilities; or a mask is missing, unreadable, of another size
        or holds other values, each in one line, in the order of the split.
    """
    chosen = evaluators.build(config.evals, source.classes)
    if needing := list(evaluators.needs(chosen)):
        raise UserError(
            f"config.evals names {needing[0]!r}, which reads probabilities, but masks have none: "
            "leave it out with --evals"
        )
    files = Files(folder, source.classes)
    skipped, processes = pipeline.Skipped(announce), jax.process_count()
    batches = pipeline.eval_batches(
        source,
        batch_size=-(-config.eval.batch_size // processes) * processes,  # an even share each
        size_multiple=config.eval.size_multiple,
        canvas=config.eval.canvas,
        mean=config.dataset.mean,
        bits=config.dataset.bits,
        workers=config.pipeline.workers,
        skipped=skipped if config.pipeline.on_unreadable == "skip" else None,
        process_index=jax.process_index(),
        process_count=processes,
    )
    compiled = jax.jit(lambda prediction, batch: evaluators.measure(chosen, prediction, batch))

    def step(batch: pipeline.Batch) -> evaluation.Outputs:
        prediction = files.predictions(batch)
        arrays = {"label": batch.label, "mask": batch.mask, "size": batch.size}
        sums, rows = compiled(prediction, jax.tree.map(jnp.asarray, arrays))
        return sums, {}, {"rows": rows, "prediction": prediction}

    with batches, Collection(chosen, config.pipeline.workers, own_sums=True) as found:
        evaluation.run(step, watch(batches), found, np.asarray, {})
        files.check()
        scores = found.compute()
    told = {"masks": str(folder), **{name: each.protocol for name, each in chosen.items()}}
    return {
        "examples": hosts.add_up(found.examples),
        "skipped": hosts.add_up(len(skipped)),
        **scores,
        "protocol": told,
    }, chosen


class Files:
    """The mask files of a folder by their names, and what was found wrong with them."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        if not folder.is_dir():
            raise UserError(f"--predictions {folder} is no folder")
        self._folder, self._classes = folder, classes
        self._faults: list[tuple[int, str]] = []  # by the image's place in the split
        self._paths: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                self._paths.setdefault(path.stem, []).append(path)

    def predictions(self, batch: pipeline.Batch) -> Int32[np.ndarray, "b h w"]:
        """The masks of a batch, padded as its labels are; faults are kept for `check`."""
        padded = np.zeros_like(batch.label)
        for slot in np.flatnonzero(batch.mask):
            height, width = map(int, batch.size[slot])
            try:
                padded[slot, :height, :width] = self._read(batch.names[slot], (height, width))
            except (UserError, OSError) as error:
                self._faults.append((int(batch.index[slot]), str(error)))
        return padded

    def _read(self, name: str, size: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
        paths = self._paths.get(Path(name).name, [])
        if len(paths) != 1:
            found = " and ".join(map(str, paths[:2])) or "none"
            raise UserError(
                f"{name}: expected one mask {name}.png in {self._folder}, found {found}"
            )
        mask = read_mask(paths[0], str(paths[0]))
        if mask.shape != size:
            raise UserError(
                f"{paths[0]}: {mask.shape[1]}x{mask.shape[0]}, but the label is {size[1]}x{size[0]}"
            )
        number = len(self._classes)
        if (outside := mask[(mask < 0) | (mask >= number)]).size:
            values = ", ".join(map(str, np.unique(outside)[:5].tolist()))
            raise UserError(f"{paths[0]}: value(s) {values}, expected classes 0..{number - 1}")
        return mask

    def check(self) -> None:
        """Raise UserError with a line for each fault that any process found; all must call this."""
        faults = [fault for _, fault in sorted(hosts.gather_items(self._faults))]
        if faults:
            more = len(faults) - TOLD
            lines = faults[:TOLD] + [f"and {more} more"] * (more > 0)
            hosts.raise_once(UserError(f"{self._folder} can't be scored:\n" + "\n".join(lines)))
