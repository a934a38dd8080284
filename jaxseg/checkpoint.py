"""Checkpoints: Orbax's manager, and a manifest of checksums that says which of them are whole.

A checkpoint holds the training state, and a `meta` record: the config, the classes, the sizes of
the training images, and the position in the data, which is the step. Saving is asynchronous; the
manifest is written once Orbax has committed. Orbax restores overwritten bytes without a word and
takes an empty directory for the latest step, so a run continues from the newest step that passes
its manifest.

A step is saved before it is evaluated, and its score is put beside it afterwards. A checkpoint is
deleted only when newer ones are committed and sealed.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import serialization

from jaxseg import hosts, manifest, scoring
from jaxseg.compilation import Announce
from jaxseg.errors import UserError
from jaxseg.manifest import SCORES, damage
from jaxseg.scoring import Score
from jaxseg.state import TrainState


class _Manager(ocp.CheckpointManager):
    """Orbax's, which leaves preemption to `stopping.Stop`."""

    def reached_preemption(self, step: int) -> bool:
        """Never: nothing is asked of JAX.

        Orbax's own asks it at every save, by the step's number. JAX stops all processes at the
        number after the one that was asked last: after a signal during a save, this could be one
        that `Stop` asked before, and the signal would be lost.
        """
        del step
        return False


class Checkpoints:
    """The checkpoints of a run: the latest `keep` and the best on the validation split.

    Args:
      directory: where they are.
      keep: how many of the latest.
      announce: is told of damaged ones.
      metric: the score that says which is the best.
      higher_is_better: whether the highest is, else the lowest.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int,
        announce: Announce,
        metric: str = "miou",
        higher_is_better: bool = True,
    ):
        self.directory = directory = directory.absolute()  # Orbax takes no relative path
        self._keep = keep
        self._metric, self._sign = metric, 1 if higher_is_better else -1
        if hosts.is_first():
            _set_damaged_aside(directory, announce)
        hosts.wait("damaged checkpoints are set aside")
        self._manager = _Manager(
            directory,
            # keeps all: what is deleted, and when, `_prune` decides
            options=ocp.CheckpointManagerOptions(cleanup_tmp_directories=True),
        )
        # In memory too: all processes must decide alike, and one may not see another's file yet.
        self._scored = {step: scoring.read(directory / str(step)) for step in steps(directory)}
        self._evaluated = {s for s in self._scored if (directory / str(s) / SCORES).exists()}
        self._unsealed: int | None = None

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def is_evaluated(self, step: int) -> bool:
        return step in self._evaluated

    def evaluate_again(self, step: int) -> None:
        """`is_evaluated` says no until the step is recorded again; its score stays."""
        self._evaluated.discard(step)

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Begin to save, unless this step is there already.

        Raises:
          UserError: this save, or the last one, which ran beside training, could not be written.
        """
        step = int(state.step)
        self._finish_save()
        if step in self._manager.all_steps():
            return
        with self._explained():
            self._unsealed = step
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(serialization.to_state_dict(state)),
                    meta=ocp.args.JsonSave(meta),
                ),
                force=True,
            )

    def record(self, step: int, scores: Mapping[str, Any]) -> None:
        """Put the score of validation that says which is the best beside a step that was saved."""
        self._finish_save()
        score = Score(self._metric, scores[self._metric], self._sign)
        with self._explained():
            if hosts.is_first():
                scoring.write(self.directory / str(step), score)
        self._scored[step] = score
        self._evaluated.add(step)
        self._prune()

    def seal(self) -> None:
        """Write the manifest of the last save if Orbax is done with it; cheap to call often."""
        if self._unsealed is None or self._manager.is_saving_in_progress():
            return
        with self._explained():
            self._manager.check_for_errors()
            step, self._unsealed = self._unsealed, None
            if hosts.is_first():
                manifest.seal(self.directory / str(step))

    def close(self) -> None:
        """Wait until everything is on the disk."""
        self._finish_save()
        with self._explained():
            self._manager.close()

    def _finish_save(self) -> None:
        """Wait for the save that runs beside training, seal it, and delete what it replaces."""
        with self._explained():
            self._manager.wait_until_finished()
        self.seal()
        self._prune()

    def _prune(self) -> None:
        """Keep the latest few and the best, once all saves are sealed; all processes call it."""
        there = sorted(self._manager.all_steps())
        kept = set(there[-self._keep :])
        known = {step: self._scored[step] for step in there if step in self._scored}
        kept.update(scoring.best_first(known)[:1])
        with self._explained():
            for step in sorted(set(there) - kept):
                self._manager.delete(step)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """A disk that is full or gone gets one line; what was saved before stays as it is."""
        try:
            yield
        except jax.errors.JaxRuntimeError:  # another process is gone: not the disk's fault
            raise
        except (OSError, ValueError, RuntimeError) as error:
            what = (
                "checkpoints"
                if self._unsealed is None
                else f"the checkpoint of step {self._unsealed}"
            )
            self._unsealed = None
            whole = [s for s in steps(self.directory) if not damage(self.directory / str(s))]
            kept = (
                f"step {whole[-1]} is kept, the same command continues from it"
                if whole
                else "none was saved before, the same command begins again"
            )
            raise UserError(
                f"{what} could not be written to {self.directory} "
                f"({_reason(error)}): make room or choose another disk; {kept}"
            ) from error


def load(
    directory: Path,
    step: str | int,
    like: TrainState,
    *,
    sharding: Callable[[Any], jax.sharding.Sharding] | None = None,
) -> tuple[TrainState, dict[str, Any]]:
    """Read a checkpoint into the structure of `like` (arrays or shapes).

    Args:
      directory: the run's `checkpoints` folder.
      step: "latest" (the newest whole one), "best" (see `scoring`), a number as a word; or a
        number that `find` or `newest` gave, whose checksums are not read again.
      like: a state, or its shapes, of the same model and optimizer.
      sharding: where an array of this shape goes; else to this process's first device.

    Raises:
      UserError: there is no such checkpoint, or it is damaged.
    """
    number = step if isinstance(step, int) else find(directory, step)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    place = sharding or (lambda _: device)
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place(x)),
        serialization.to_state_dict(like),
    )
    parts = {"state": ocp.args.StandardRestore(target), "meta": ocp.args.JsonRestore()}
    try:
        restored = _read(directory, number, **parts)
        state: Any = serialization.from_state_dict(like, restored["state"])
    except (ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"checkpoint {directory / str(number)} does not fit this config's model and optimizer "
            f"({reason}): use the config it was trained with, or another --workdir"
        ) from None
    return state, restored["meta"]


def load_meta(directory: Path, step: str | int) -> dict[str, Any]:
    """The record beside the state: config, classes, sizes, step."""
    number = step if isinstance(step, int) else find(directory, step)
    return _read(directory, number, meta=ocp.args.JsonRestore())["meta"]


def find(directory: Path, step: str | int) -> int:
    """The number of the step that `step` (a number, "latest" or "best") means.

    "latest" and "best" pass over damaged checkpoints.

    Raises:
      UserError: there is no such checkpoint, or the one named is damaged.
    """
    there = steps(directory)
    if not there:
        raise UserError(f"no checkpoint in {directory}: train first, or name the run's --workdir")
    if step == "latest":
        candidates = sorted(there, reverse=True)
    elif step == "best":
        scored = {step: scoring.read(directory / str(step)) for step in there}
        candidates = scoring.best_first(scored)
        candidates += sorted(set(there) - set(candidates), reverse=True)
    elif str(step).isdigit() and int(step) in there:
        candidates = [int(step)]
    else:
        known = ", ".join(map(str, there))
        raise UserError(
            f"no checkpoint of step {step!r} in {directory}: known: best, latest, {known}"
        )
    for candidate in candidates:
        if (reason := damage(directory / str(candidate))) is None:
            return candidate
    raise UserError(
        f"checkpoint {directory / str(candidates[0])} is damaged ({reason}): "
        f"try another step of {', '.join(map(str, there))}"
    )


def newest(directory: Path) -> int | None:
    """The newest whole step, None if there is none."""
    whole = (s for s in sorted(steps(directory), reverse=True) if not damage(directory / str(s)))
    return next(whole, None)


def _set_damaged_aside(directory: Path, announce: Announce) -> None:
    """Rename what is not whole: nothing of it is lost, and Orbax does not stumble over it."""
    for step in steps(directory):
        folder = directory / str(step)
        reason = damage(folder)
        if reason is None:
            continue
        names = (f"damaged-{step}" + f".{i}" * (i > 0) for i in itertools.count())
        aside = next(directory / name for name in names if not (directory / name).exists())
        folder.rename(aside)
        announce(f"checkpoint of step {step} is damaged ({reason}): set aside as {aside}")


def steps(directory: Path) -> list[int]:
    """The steps that have a folder, damaged ones too."""
    if not directory.is_dir():
        return []
    return sorted(int(p.name) for p in directory.iterdir() if p.is_dir() and p.name.isdigit())


def _read(directory: Path, step: int, **args: Any) -> Any:
    """The parts of one step that `args` name, through Orbax."""
    folder = (directory / str(step)).absolute()
    handler = ocp.CompositeCheckpointHandler(
        state=ocp.StandardCheckpointHandler(), meta=ocp.JsonCheckpointHandler()
    )
    with ocp.Checkpointer(handler) as checkpointer:
        return checkpointer.restore(folder, ocp.args.Composite(**args))


def _reason(error: Exception) -> str:
    """One line of an error of a file system, from Python, Orbax or TensorStore."""
    text = " ".join(str(error).split()) or type(error).__name__
    known = re.search(r"No space left on device|Disk quota exceeded|File too large", text)
    return known[0] if known else text[:200]
