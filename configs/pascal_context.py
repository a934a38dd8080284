"""PASCAL-Context, 60 classes: 4,998 images to train, 5,105 to validate.

Data:    jaxseg data prepare pascal_context --source DIR   (with VOCtrainval_03-May-2010.tar and
         trainval.tar.gz, or what they hold). Without the background, 59 classes:
         prepare pascal_context59, and --config.dataset.name=pascal_context59
Claim:   DeepLabv3+ (Chen et al. 2018) from ImageNet's weights on a GPU. The recipe is ours.
         Not yet run.
Command: jaxseg train --config configs/pascal_context.py --workdir runs/pascal_context
         --config.init_from=WEIGHTS
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "deeplabv3plus,backbone=resnet50") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 40_000
    config.batch_size = 16

    config.dataset.name = "pascal_context"

    config.augment.crop_size = (480, 480)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.004
    config.schedule.warmup_steps = 500

    config.eval.every = 4000
    config.eval.batch_size = 8
    config.checkpoint.every = 4000
    return config
