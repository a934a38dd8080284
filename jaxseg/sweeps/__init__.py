"""Experiments: rows x seeds of runs, on one machine or a cluster, and what they say."""

from jaxseg.sweeps.experiment import Experiment as Experiment
from jaxseg.sweeps.experiment import Range as Range
from jaxseg.sweeps.experiment import Row as Row
from jaxseg.sweeps.experiment import Scale as Scale
from jaxseg.sweeps.experiment import grid as grid
