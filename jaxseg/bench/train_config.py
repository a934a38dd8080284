"""The config of the `jaxseg train` whose peak memory `jaxseg bench steps` reports.

Four steps on drawn shapes, then an evaluation, a checkpoint and pictures. Sizes are set by flags.
"""

from ml_collections import ConfigDict

from jaxseg import defaults

NUM_CLASSES = 5  # of the shapes


def get_config(arg: str) -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 4
    config.log_every = 1
    config.dataset.name = "shapes"
    config.dataset.image_size = (257, 257)
    config.dataset.train_examples = 2
    config.dataset.val_examples = 2
    config.dataset.seed = 0
    config.augment.scale = (1.0, 1.0)
    config.eval.size_multiple = 1  # images are evaluated at the size they are trained at
    return config
