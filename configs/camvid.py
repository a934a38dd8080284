"""CamVid, 11 classes, 360x480, 367 / 101 / 233 images (the SegNet split).

Data:    jaxseg data prepare camvid --source DIR   (DIR/{train,val,test}/{images,masks})
Claim:   to stand beside SegNet 46.4 (Badrinarayanan et al. 2017) and FCN-8s 57.0 mIoU on test, with
         running statistics, at full resolution, void left out. Full schedule on a GPU: not yet run.
         Measured with the command below on 2 CPU cores in 16 minutes: 48.49 mIoU on val (23.5,
         37.7, 43.6, 48.5 every 300 steps); the weights are roots of the median-frequency ones.
Command: jaxseg train --config configs/camvid.py:unet,width=16 --workdir runs/camvid
         --config.total_steps=1200 --config.batch_size=4 --config.augment.crop_size="(192,256)"
         --config.augment.scale="(0.5,1.0)" --config.augment.brightness=0.4
         --config.schedule.learning_rate=0.002 --config.schedule.warmup_steps=50
         --config.ema_decay=0.99 --config.eval.every=300
         --config.loss.cross_entropy.class_weights="(0.53,0.45,2.19,0.39,1.0,0.65,1.96,1.40,0.89,2.52,2.98)"

DeepLabv3+ on MobileNetV2 from ImageNet weights (README's first command, 1,400 steps of 8 on 2 CPU
cores): 67.95 mIoU on val, 61.14, 66.98, 67.25 and 67.95 every 350 steps.

From ImageNet weights (MobileNetV2 of TF-Slim, batch norms folded: SOURCE) against from scratch, 240
steps of 8 on 2 CPU cores, 6 and 4 minutes: val mIoU after 80, 160 and 240 steps 36.20, 41.66 and
43.68 against 17.39, 21.79 and 24.54 (the same command without init_from).
         jaxseg train --workdir runs/camvid_mobilenet --config
         configs/camvid.py:deeplabv3plus,backbone=mobilenet_v2,separable=True,padding=tf_same,norm_epsilon=0.001
         --config.init_from=SOURCE --config.dataset.mean="(127.5,127.5,127.5)"
         --config.dataset.std="(127.5,127.5,127.5)" --config.total_steps=240 --config.batch_size=8
         --config.augment.crop_size="(192,256)" --config.augment.scale="(0.5,1.0)"
         --config.schedule.warmup_steps=20 --config.eval.every=80
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 10_000  # 218 epochs
    config.batch_size = 8

    config.dataset.name = "camvid"
    config.dataset.cache = True  # 0.6 GB decoded

    config.augment.crop_size = (360, 480)
    config.augment.scale = (0.5, 2.0)
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.optimizer.grad_clip_norm = 1.0
    config.schedule.learning_rate = 1e-3
    config.schedule.warmup_steps = 200

    config.eval.every = 500
    config.eval.batch_size = 8
    config.eval.size_multiple = 8  # 360x480 stays as it is: no padding, one shape
    config.checkpoint.every = 500
    if "backbone" in config.model:
        # maps are resized, and keep their place on multiples of the stride alone
        config.augment.crop_size = (352, 480)
        config.eval.size_multiple = 32
    return config
