"""TGS salt identification: 4,000 grey images of 101x101 pixels, salt or background.

Data:    jaxseg data prepare tgs_salt --source DIR   (with train.zip and train.csv)
Claim:   a U-Net (Ronneberger et al. 2015). The recipe is ours. A fifth of the images validates,
         chosen by a hash of their names. Not yet run.
Command: jaxseg train --config configs/tgs_salt.py --workdir runs/tgs_salt
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 10_000
    config.batch_size = 32

    config.dataset.name = "tgs_salt"
    config.dataset.train_split = "train[:80%]"
    config.dataset.val_split = "train[80%:]"
    config.dataset.cache = True

    config.augment.crop_size = (128, 128)
    config.augment.scale = (0.75, 1.5)
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 100

    config.eval.every = 1000
    config.eval.batch_size = 32
    config.checkpoint.every = 1000
    return config
