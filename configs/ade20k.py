"""ADE20K, SceneParse150: 20,210 images to train, 2,000 to validate.

Data:    jaxseg data prepare ade20k --source ADEChallengeData2016.zip
Claim:   DeepLabv3+ (Chen et al. 2018) from ImageNet's weights on a GPU. The recipe is ours;
         the paper has no numbers on this set. Not yet run.
Command: jaxseg train --config configs/ade20k.py --workdir runs/ade20k
         --config.init_from=WEIGHTS
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "deeplabv3plus,backbone=resnet50") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 80_000
    config.batch_size = 16

    config.dataset.name = "ade20k"

    config.augment.crop_size = (512, 512)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.01
    config.schedule.warmup_steps = 500

    config.eval.every = 5000
    config.eval.batch_size = 8
    config.checkpoint.every = 5000
    return config
