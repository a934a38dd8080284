"""Hyperparameter search by Optuna: trials are runs like any other, pruned after an evaluation.

Akiba et al. 2019, "Optuna: a next-generation hyperparameter optimization framework". Trials come
from its tree-structured Parzen estimator; one whose score after an evaluation is worse than the
median of the earlier trials' at that step is stopped (MedianPruner). All trials have the same seed,
so that they differ in what is searched for alone.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError
from jaxseg.report import folder
from jaxseg.sweeps import plan, status
from jaxseg.sweeps.experiment import Range
from jaxseg.sweeps.local import Pool
from jaxseg.sweeps.plan import Plan, Task

SEED = 0


class Search:
    """The trials of an experiment's `search` ranges, around its baseline row.

    They are kept in the sweep's folder (`optuna.log`): a search that is started again continues its
    unfinished trials and knows the results of the others.
    """

    def __init__(
        self,
        source: str,
        workdir: Path,
        *,
        trials: int,
        changes: Sequence[str],
        announce: Callable[[str], None],
    ):
        self._optuna = _import()
        self._experiment, self._scale, self._question, self._source = plan.open_source(source)
        if not self._experiment.search:
            raise UserError(
                f"{self._source} has no `search` ranges: name some, such as "
                'search={"schedule.learning_rate": Range(1e-4, 1e-1, log=True)}'
            )
        self._workdir, self._trials, self._changes = workdir, trials, changes
        self._announce = announce
        self._ranges = {k: self._distribution(r) for k, r in self._experiment.search.items()}
        workdir.mkdir(parents=True, exist_ok=True)
        self._study = self._open_study()
        self._open: dict[Task, Any] = {}  # trials that are not over
        self._reported: dict[Task, int] = {}  # the last step
        self.tasks: list[Task] = []
        self.waiting: list[Task] = []
        for trial in self._study.trials:
            task = self._add(trial.number, trial.params)
            if trial.state == self._optuna.trial.TrialState.RUNNING:
                self._open[task] = self._optuna.trial.Trial(self._study, trial._trial_id)
                self._reported[task] = max(trial.intermediate_values, default=0)
                self.waiting.append(task)
        self._store()

    @property
    def metric(self) -> str:
        return self._experiment.metric

    @property
    def split(self) -> str:
        return self._experiment.split

    def _open_study(self) -> Any:
        optuna = self._optuna
        backend = optuna.storages.journal.JournalFileBackend(str(self._workdir / "optuna.log"))
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=self._source,
            load_if_exists=True,
            direction="maximize" if self._experiment.higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
        # A sampler that begins anew must not draw again what it drew before.
        study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
        return study

    def _distribution(self, given: Range | Sequence[Any]) -> Any:
        distributions = self._optuna.distributions
        if not isinstance(given, Range):
            return distributions.CategoricalDistribution(tuple(given))
        kind = (
            distributions.IntDistribution
            if isinstance(given.low, int) and isinstance(given.high, int)
            else distributions.FloatDistribution
        )
        return kind(given.low, given.high, log=given.log)

    def update(self, pool: Pool) -> None:
        """Read new evaluations, end or prune trials, and begin new ones while slots are free."""
        for task, trial in list(self._open.items()):
            if task in self.waiting:
                continue
            for step, scores in folder.scores(task.workdir, self.split).items():
                if step > self._reported.get(task, 0) and scores.get(self.metric) is not None:
                    trial.report(scores[self.metric], step)
                    self._reported[task] = step
                    if step < task.total_steps and trial.should_prune():
                        self._announce(f"{task.row}: pruned at step {step}")
                        pool.prune(task)
            if not pool.is_running(task):
                self._end(task, trial, pool)
        while len(self.waiting) < pool.num_free and len(self.tasks) < self._trials:
            trial = self._study.ask(self._ranges)
            task = self._add(trial.number, trial.params)
            self._open[task] = trial
            self.waiting.append(task)
            self._store()
            told = ", ".join(f"{key}={value}" for key, value in trial.params.items())
            self._announce(f"{task.row}: {told}")

    def _end(self, task: Task, trial: Any, pool: Pool) -> None:
        """Tell Optuna how a trial ended; one that a signal stopped goes on with the next start."""
        state = self._optuna.trial.TrialState
        found = status.task_status(task, self.metric, self.split)
        if found.state == "finished" and found.score is not None:
            self._study.tell(trial, found.score)
        elif task in pool.pruned:
            self._study.tell(trial, state=state.PRUNED)
        elif task in pool.failed:
            self._study.tell(trial, state=state.FAIL)
        else:
            return
        del self._open[task]

    def _add(self, number: int, values: Mapping[str, Any]) -> Task:
        name = f"trial{number:04}"
        baseline = self._experiment.rows[self._experiment.baseline]
        row = dataclasses.replace(
            baseline, overrides={**baseline.overrides, **values}, published=None
        )
        self._experiment = dataclasses.replace(
            self._experiment, rows={**self._experiment.rows, name: row}
        )
        task = plan.make_task(
            self._experiment, self._scale, name, SEED, self._workdir, self._changes
        )
        self.tasks.append(task)
        return task

    def _store(self) -> None:
        Plan(
            self._workdir,
            self._experiment,
            self._question,
            self._source,
            (SEED,),
            tuple(self.tasks),
            tuple(self._experiment.search),
            tuple(self._changes),
        ).store()

    def best(self) -> str:
        """The best finished trial, in a line."""
        done = [t for t in self._study.trials if t.state.name == "COMPLETE"]
        if not done:
            return "no trial is finished"
        choose = max if self._experiment.higher_is_better else min
        best = choose(done, key=lambda trial: trial.value)
        told = " ".join(f"--config.{key}={value}" for key, value in best.params.items())
        score = status.printed(best.value, self.metric)
        return f"best: trial{best.number:04}, {self.metric} {score}: {told}"


def _import() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("a search needs Optuna: pip install 'jaxseg[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
