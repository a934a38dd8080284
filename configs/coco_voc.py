"""COCO's instances as VOC's 21 classes, as torchvision trains on them: 5,000 to validate.

Data:    jaxseg data prepare coco_voc --source DIR   (with train2017.zip, val2017.zip and
         annotations_trainval2017.zip, or what they hold)
Claim:   what to train on before VOC: DeepLabv3 (Chen et al. 2017) on ResNet-50. The recipe is ours.
         Not yet run.
Command: jaxseg train --config configs/coco_voc.py --workdir runs/coco_voc
         --config.init_from=WEIGHTS
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "deeplabv3,backbone=resnet50") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 85_000
    config.batch_size = 32

    config.dataset.name = "coco_voc"

    config.augment.crop_size = (480, 480)
    config.augment.scale = (0.5, 2.0)

    config.optimizer.name = "sgd"
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "poly"
    config.schedule.learning_rate = 0.02
    config.schedule.warmup_steps = 500

    config.eval.every = 5000
    config.eval.batch_size = 8
    config.checkpoint.every = 5000
    return config
