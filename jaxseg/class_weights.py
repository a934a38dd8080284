"""Class weights that a config names, such as "median_frequency": of the training split, once.

They are known before the program is built, and go with every checkpoint, so that evaluating and
predicting take no training data. What was counted stays beside the prepared data for the next run
(`data.stats`); data made on the fly and sets of TFDS's catalogue are counted at every start.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from jaxseg import hosts
from jaxseg.data import balancing, pipeline, stats
from jaxseg.data.source import Source
from jaxseg.data.stats import Stats
from jaxseg.defaults import Config
from jaxseg.errors import UserError

MOST_SHOWN = 25  # classes whose weights are printed


def for_training(
    config: Config, source: Source, split: str, announce: Callable[[str], None]
) -> dict[str, list[float]]:
    """The weights that the config's losses name, by method; none where they name none.

    All processes of a run call this and get the same: each counts a part of the split.

    Args:
      config: the run's.
      source: the training split.
      split: its name.
      announce: is told the weights.
    """
    methods = _methods(config)
    if not methods:
        return {}
    counted = _counted(config, source, split)
    found = {method: counted.weights(method).tolist() for method in methods}
    for method, weights in found.items():
        announce(_told(method, weights, source.classes.names, split))
    return found


def with_numbers(
    terms: Mapping[str, Mapping[str, Any]], class_weights: Mapping[str, Sequence[float]], where: str
) -> dict[str, Mapping[str, Any]]:
    """A config's losses with numbers in place of the methods that they name.

    Args:
      terms: the options of every loss, by its name.
      class_weights: what `for_training` found when the run began.
      where: the losses' section of the config.

    Raises:
      UserError: a loss that has a weight names a method that is not among them.
    """
    found = dict(terms)
    for name, term in terms.items():
        if (method := balancing.method_of(term.get("class_weights"))) is None:
            continue
        if term["weight"] and method not in class_weights:
            raise UserError(
                f"{where}.{name}.class_weights is {method!r}, which is computed when a training "
                "begins, and none with it began here: give one number for each class"
            )
        found[name] = {**term, "class_weights": tuple(class_weights.get(method, ()))}
    return found


def _methods(config: Config) -> list[str]:
    """What the losses that have a weight name, each once."""
    terms = (*config.loss.terms.values(), *config.loss.aux.values())
    named = (balancing.method_of(term.get("class_weights", ())) for term in terms if term["weight"])
    return list(dict.fromkeys(method for method in named if method))


def _counted(config: Config, source: Source, split: str) -> Stats:
    stored = stats.stored(config.dataset, split, source.classes)
    if not hosts.highest(int(stored is None)):  # all processes count, or none
        assert stored is not None
        return stored
    skipped = pipeline.Skipped(lambda _: None)  # training will announce them
    part = stats.measure(
        source,
        skipped if config.pipeline.on_unreadable == "skip" else None,
        part=(jax.process_index(), jax.process_count()),
    )
    counted = Stats.from_rows(source.classes, hosts.gather(part.row()[None]))
    if not hosts.add_up(len(skipped)):
        stats.store(config.dataset, split, counted)
    return counted


def _told(method: str, weights: Sequence[float], names: Sequence[str], split: str) -> str:
    seen = [(name, w) for name, w in zip(names, weights, strict=True) if w]
    absent = [name for name, w in zip(names, weights, strict=True) if not w]
    shown = ", ".join(f"{name} {w:.3g}" for name, w in seen)
    if len(seen) > MOST_SHOWN:
        low, high = (pick(seen, key=lambda each: each[1]) for pick in (min, max))
        shown = f"{low[1]:.3g} ({low[0]}) to {high[1]:.3g} ({high[0]})"
    never = f"; never in {split}, so 0: {', '.join(absent)}" if absent else ""
    return f"class weights by {method} of {split}: {shown}{never}"
