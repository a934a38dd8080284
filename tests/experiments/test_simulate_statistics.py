import numpy as np

from experiments import simulate_statistics


def test_the_simulation_is_of_the_method_that_is_used():
    simulate_statistics.check(np.random.default_rng(1), draws=3)
