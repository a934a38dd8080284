"""What are ImageNet weights worth, and may they change?

Published: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR
2015, Table 2: FCN-32s 59.4 mIoU on VOC 2011, 736 validation images, and 45.4 with all layers but
the scores' fixed. "fixed" here keeps the encoder, and trains fc6 and fc7 too.

Scale `small`: CamVid, DeepLabv3+ on MobileNetV2 (weights: README, "Pretrained weights"; another
file is given by --config.init_from).
Scale `full`: VOC 2012, FCN-32s on VGG16, the recipe of configs/voc.py, which is not the paper's.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_2 = "VOC 2011, FCN-32s"

EXPERIMENT = Experiment(
    rows={
        "imagenet": Row(published=59.4, note=TABLE_2),
        "slow": Row({"optimizer.encoder_lr_multiplier": 0.1}),
        "fixed": Row(
            {"optimizer.encoder_lr_multiplier": 0.0},
            published=45.4,
            note=f"{TABLE_2}; the paper fixes fc6 and fc7 too",
        ),
        "scratch": Row({"init_from": ""}),
    },
    baseline="imagenet",
    scales={
        "small": Scale(
            "configs/camvid.py:deeplabv3plus,backbone=mobilenet_v2,aspp_channels=64,"
            "decoder_channels=64,separable=True,padding=tf_same,norm_epsilon=0.001",
            {
                "init_from": "mobilenet_v2_1.0_224_imagenet_folded.npz",
                "dataset.mean": (127.5, 127.5, 127.5),
                "dataset.std": (127.5, 127.5, 127.5),
                "total_steps": 100,
                "batch_size": 8,
                "schedule.warmup_steps": 10,
                "augment.crop_size": (160, 224),
                "augment.scale": (0.5, 1.0),
                "eval.every": 0,
            },
        ),
        "full": Scale("configs/voc.py:fcn,stride=32", {"init_from": "hf://timm/vgg16.tv_in1k"}),
    },
)
