"""CamVid as published: 31 classes and void at 960x720, 701 frames of four sequences.

Data:    jaxseg data prepare camvid32 --source DIR   (the frames, and the coloured labels)
Claim:   DeepLabv3+ (Chen et al. 2018) from ImageNet's weights. The recipe and the division are
         ours: the sequence Seq05VD validates, and is not trained on. Not yet run.
Command: jaxseg train --config configs/camvid32.py --workdir runs/camvid32
         --config.init_from=WEIGHTS
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "deeplabv3plus,backbone=resnet50") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 10_000
    config.batch_size = 8

    config.dataset.name = "camvid32"
    config.dataset.group = r"([^_]+)_"  # a sequence
    config.dataset.train_split = "seq_0001TP+seq_0006R0+seq_0016E5"
    config.dataset.val_split = "seq_Seq05VD"

    config.augment.crop_size = (480, 640)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.01
    config.schedule.warmup_steps = 500

    config.eval.every = 1000
    config.eval.batch_size = 8
    config.checkpoint.every = 1000
    return config
