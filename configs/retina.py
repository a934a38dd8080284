"""Vessels of the retina: DRIVE, 20 images to train and 20 to test; also STARE, CHASE_DB1 and HRF.

Data:    jaxseg data prepare retina --source DIR   (with the archives of one set or of several)
Claim:   a U-Net (Ronneberger et al. 2015) on small crops. The recipe is ours. It trains on several
         sets with --config.dataset.train_split=drive_train+stare_train. Not yet run.
Command: jaxseg train --config configs/retina.py --workdir runs/retina
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 4000
    config.batch_size = 8

    config.dataset.name = "retina"
    config.dataset.group = r"(chase_db1_Image_\d+|.*)"  # a person has two eyes in CHASE_DB1
    config.dataset.train_split = "drive_train"
    config.dataset.val_split = "drive_test"
    config.dataset.cache = True

    config.augment.crop_size = (256, 256)
    config.augment.scale = (0.75, 1.5)
    config.augment.vertical_flip = True  # an eye may be the left or the right one
    config.augment.rotate90 = True
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 100

    config.eval.every = 500
    config.eval.batch_size = 1
    config.checkpoint.every = 500
    return config
