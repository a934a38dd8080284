"""Data Science Bowl 2018 as Kaggle has it: 670 images of nuclei, of many sizes and stains.

Data:    jaxseg data prepare dsb2018 --source stage1_train.zip
Claim:   a U-Net (Ronneberger et al. 2015). The recipe is ours. A fifth of the images validates,
         chosen by a hash of their names. Not yet run.
Command: jaxseg train --config configs/dsb2018.py --workdir runs/dsb2018
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 5000
    config.batch_size = 8

    config.dataset.name = "dsb2018"
    config.dataset.train_split = "train[:80%]"
    config.dataset.val_split = "train[80%:]"
    config.dataset.cache = True

    config.augment.crop_size = (256, 256)
    config.augment.scale = (0.75, 1.5)
    config.augment.vertical_flip = True  # a slide has no up
    config.augment.rotate90 = True
    config.augment.brightness = 0.3
    config.augment.contrast = 0.3

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 100

    config.eval.every = 500
    config.eval.batch_size = 1
    config.checkpoint.every = 500
    return config
