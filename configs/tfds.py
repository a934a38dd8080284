"""A data set of TFDS's own catalogue that is prepared already: Oxford-IIIT Pet, or Cityscapes.

Data:    in --data_dir, written by TFDS as array_record; with TensorFlow (pip install
         'jaxseg[prepare]') also: jaxseg data prepare tfds --builder oxford_iiit_pet
         Another: --config.dataset.builder=cityscapes --config.dataset.train_split=train
         --config.dataset.val_split=validation.
Claim:   the same data as configs/oxford_pets.py, in the catalogue's records. Not yet run.
Command: jaxseg train --config configs/tfds.py --workdir runs/tfds
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 10_000
    config.batch_size = 16

    config.dataset.name = "tfds"
    config.dataset.builder = "oxford_iiit_pet"
    config.dataset.train_split = "train[:80%]"
    config.dataset.val_split = "train[80%:]"

    config.augment.crop_size = (256, 256)
    config.augment.scale = (0.75, 1.5)
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 100

    config.eval.every = 1000
    config.eval.batch_size = 8
    config.checkpoint.every = 1000
    return config
