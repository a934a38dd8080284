"""PASCAL VOC 2012, 21 classes: 10,582 images to train (train_aug), 1,449 to validate.

Data:    jaxseg data prepare voc --source VOCdevkit   (with SBD's masks, see data/sets/voc.py;
         with VOC's own 1,464 images: --config.dataset.train_split=train)
Claim:   the recipe of DeepLabv3 (Chen et al. 2017, section 4.1), which DeepLabv3+ keeps (2018,
         section 4): to stand beside 77.21 (DeepLabv3, Table 5) and 78.85 (DeepLabv3+) mIoU on val,
         ResNet-101 at output stride 16, begun from ImageNet's weights. Not yet run.
         Rates (2, 4, 8) in stage 4, corners aligned: with 513 = 32 * 16 + 1 pixels features lie at
         every 16th (see jaxseg/ops/resize.py).
         Evaluated as the authors do: images unscaled on a canvas of 513x513, mean pixel around.
         Their second stage (batch norm frozen, output stride 8, on trainval) is not here.
Command: jaxseg train --config configs/voc.py --config.init_from=WEIGHTS --workdir runs/voc
"""

from ml_collections import ConfigDict

from jaxseg import defaults

MODEL = "deeplabv3plus,backbone=resnet101,multi_grid=(1,2,4),norm_momentum=0.9997"


def get_config(arg: str = MODEL) -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 30_000
    config.batch_size = 16

    config.dataset.name = "voc"
    config.dataset.train_split = "train_aug"

    config.augment.crop_size = (513, 513)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4  # of the authors' code for ResNet; the paper has none
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.007
    config.schedule.power = 0.9

    config.eval.every = 2500
    config.eval.batch_size = 8
    config.eval.canvas = (513, 513)
    if "corners" not in config.model:  # 513 is for models that resize their logits
        config.augment.crop_size = (512, 512)
        config.eval.canvas = (512, 512)
    elif "corners=" not in arg:
        config.model.corners = "aligned"
    config.checkpoint.every = 1000
    return config
