"""Cityscapes, 19 classes, 2048x1024: 2,975 images to train, 500 to validate.

Data:    jaxseg data prepare cityscapes --source DIR   (with leftImg8bit_trainvaltest.zip and
         gtFine_trainvaltest.zip, or what they hold)
Claim:   DeepLabv3+ (Chen et al. 2018) from ImageNet's weights on a GPU, validated on
         whole images. Steps, crops and rates are ours. Not yet run.
Command: jaxseg train --config configs/cityscapes.py --workdir runs/cityscapes
         --config.init_from=WEIGHTS
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "deeplabv3plus,backbone=resnet50") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 90_000
    config.batch_size = 16

    config.dataset.name = "cityscapes"
    config.dataset.group = r"(\w+?)_\d"  # a city

    config.augment.crop_size = (768, 768)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.01
    config.schedule.warmup_steps = 500

    config.eval.every = 5000
    config.eval.batch_size = 1
    config.checkpoint.every = 5000
    return config
