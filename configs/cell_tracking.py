"""PhC-U373 and DIC-HeLa of the Cell Tracking Challenge: one sequence trains, one validates.

Data:    jaxseg data prepare cell_tracking --source PhC-C2DH-U373.zip
         (and --source DIC-C2DH-HeLa.zip)
Claim:   the sets that U-Net was measured on (Ronneberger et al. 2015, Table 2: 92.03 and 77.56 %
         IoU of cells on hidden sequences, which are not here). The recipe is ours. DIC-HeLa:
         --config.dataset.train_split=dic_hela_01 --config.dataset.val_split=dic_hela_02. Not yet
         run.
Command: jaxseg train --config configs/cell_tracking.py --workdir runs/cell_tracking
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 4000
    config.batch_size = 4

    config.dataset.name = "cell_tracking"
    config.dataset.train_split = "phc_u373_01"
    config.dataset.val_split = "phc_u373_02"
    config.dataset.cache = True

    config.augment.crop_size = (384, 384)
    config.augment.scale = (0.75, 1.5)
    config.augment.vertical_flip = True  # a dish has no up
    config.augment.rotate90 = True
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2
    config.augment.elastic = 10.0

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 100

    config.eval.every = 500
    config.eval.batch_size = 2
    config.checkpoint.every = 500
    return config
