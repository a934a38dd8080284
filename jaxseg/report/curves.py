"""The curves of runs, from their folders: loss, mIoU, and the IoU of every class by step."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.report import folder

Number = int | float
Points = tuple[Sequence[Number], Sequence[Number]]  # steps, values


@dataclasses.dataclass(frozen=True)
class Run:
    """What a folder says of a training by step; scores are in percent."""

    name: str
    loss: Points
    val_loss: Points
    miou: Points
    iou: Mapping[str, Points]  # by class

    def all_points(self) -> Iterator[Points]:
        yield from (self.loss, self.val_loss, self.miou, *self.iou.values())

    @property
    def best(self) -> Number:
        """The highest mIoU, if there is one."""
        return max(self.miou[1])


def read(workdirs: Sequence[Path]) -> list[Run]:
    """The curves of runs, finished or not.

    Raises:
      UserError: a folder is no run, or nothing was logged in any of them yet.
    """
    for workdir in workdirs:
        folder.record(workdir)  # raises if it is no run
    runs = [_read(*named) for named in zip(workdirs, _names(workdirs), strict=True)]
    if not any(len(run.loss[0]) or run.iou for run in runs):
        raise UserError(f"nothing to draw: no step is logged yet in {_listed(workdirs)}")
    return runs


def _read(workdir: Path, name: str) -> Run:
    lines, scored = folder.rows(workdir), folder.scores(workdir, "val")
    logged = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    classes = dict.fromkeys(name for scores in scored.values() for name in scores["iou"])

    def by_step(values: Iterable[tuple[int, Number | None]], factor: float = 100.0) -> Points:
        found = [(step, factor * value) for step, value in values if value is not None]
        return [step for step, _ in found], [value for _, value in found]

    return Run(
        name,
        loss=by_step(logged, 1.0),
        val_loss=by_step(((step, at.get("loss")) for step, at in scored.items()), 1.0),
        miou=by_step((step, at["miou"]) for step, at in scored.items()),
        iou={
            name: by_step((step, at["iou"].get(name)) for step, at in scored.items())
            for name in classes
        },
    )


def _names(workdirs: Sequence[Path]) -> list[str]:
    """The paths without what they have in common."""
    paths = [path.resolve() for path in workdirs]
    common = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def _listed(workdirs: Sequence[Path]) -> str:
    return ", ".join(map(str, workdirs[:3])) + ", ..." * (len(workdirs) > 3)
