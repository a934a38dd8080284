"""Oxford-IIIT Pet, trimaps of pet, background and border: 3,680 images to train, 3,669 to test.

Data:    jaxseg data prepare oxford_pets --source DIR   (with images.tar.gz and annotations.tar.gz)
Claim:   a first set of photographs for a U-Net (Ronneberger et al. 2015). The recipe is ours. A
         fifth of the training images validates, chosen by a hash of their names. Not yet run.
Command: jaxseg train --config configs/oxford_pets.py --workdir runs/oxford_pets
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 10_000
    config.batch_size = 16

    config.dataset.name = "oxford_pets"
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
