"""A config for the benchmarks: four steps on drawn shapes, an evaluation, a checkpoint, pictures.

`jaxseg bench steps` trains with it to report the memory of the real command, at sizes set by flags,
and `jaxseg bench collectives` compiles its step. Both work outside the project's clone.
"""

from ml_collections import ConfigDict

from jaxseg import defaults

NUM_CLASSES = 5  # of the shapes


def get_config(arg: str) -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 4
    config.log_every = 1
    config.dataset.name = "shapes"
    config.dataset.image_size = (64, 64)
    config.dataset.train_examples = 2
    config.dataset.val_examples = 2
    config.dataset.seed = 0
    config.augment.crop_size = (64, 64)
    config.augment.scale = (1.0, 1.0)
    config.eval.size_multiple = 1  # images are evaluated at the size they are trained at
    return config
