"""A small U-Net on shapes drawn on the fly: no download, minutes on a laptop.

Claim:   a first look, not a paper. Validation mIoU 96.82, measured on 2 CPU cores in 3 minutes.
Command: jaxseg train --config configs/quickstart.py --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet,width=16,depth=3") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 400
    config.batch_size = 16
    config.log_every = 10

    config.dataset.name = "shapes"
    config.dataset.image_size = (64, 64)
    config.dataset.train_examples = 2000
    config.dataset.val_examples = 100
    config.dataset.seed = 0
    config.dataset.cache = True

    config.augment.crop_size = (64, 64)
    config.augment.scale = (1.0, 1.0)

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 3e-3
    config.schedule.warmup_steps = 20

    config.eval.every = 200
    config.eval.batch_size = 20
    config.checkpoint.every = 200
    return config
