"""COCO panoptic as semantic labels, 133 classes: 118,287 images to train, 5,000 to validate.

Data:    jaxseg data prepare coco_panoptic --source DIR   (with train2017.zip, val2017.zip and
         panoptic_annotations_trainval2017.zip, or what they hold)
Claim:   DeepLabv3+ (Chen et al. 2018) from ImageNet's weights on a GPU. The recipe is ours.
         Not yet run.
Command: jaxseg train --config configs/coco_panoptic.py --workdir runs/coco_panoptic
         --config.init_from=WEIGHTS
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "deeplabv3plus,backbone=resnet50") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 80_000
    config.batch_size = 16

    config.dataset.name = "coco_panoptic"

    config.augment.crop_size = (512, 512)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.01
    config.schedule.warmup_steps = 500

    config.eval.every = 10000
    config.eval.batch_size = 8
    config.checkpoint.every = 10000
    return config
