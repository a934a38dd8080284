"""Nuclei of the Data Science Bowl 2018: 334 fluorescence images of 256x256, background / nucleus.

Data:    jaxseg data prepare nuclei --source DIR   (DIR/{images,masks}; instance ids in the masks)
Claim:   nucleus IoU of at least 80 % in minutes on a laptop. Measured with the command below on 2
         CPU cores in 9 minutes: 80.25 (267 images to train, 67 to validate). Full width and
         schedule: not yet run.
Command: jaxseg train --config configs/nuclei.py:unet,width=16 --workdir runs/nuclei
         --config.total_steps=500 --config.augment.crop_size="(128,128)"
         --config.schedule.learning_rate=0.002 --config.eval.every=125
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 2000
    config.batch_size = 8

    config.dataset.name = "nuclei"
    config.dataset.train_split = "train[:80%]"
    config.dataset.val_split = "train[80%:]"
    config.dataset.cache = True
    config.dataset.mean = (12.5, 12.5, 12.5)  # `jaxseg data stats`: dark images
    config.dataset.std = (17.5, 17.5, 17.5)

    config.augment.crop_size = (256, 256)
    config.augment.scale = (0.75, 1.5)
    config.augment.vertical_flip = True
    config.augment.rotate90 = True
    config.augment.brightness = 0.3
    config.augment.contrast = 0.3

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 100

    config.eval.every = 200
    config.eval.batch_size = 8
    config.checkpoint.every = 200
    return config
