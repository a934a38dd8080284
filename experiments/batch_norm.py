"""Whose statistics should batch norm use: the whole batch's, each device's own, or none?

Published: Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution" (DeepLabv3), 2017, Table
8: 75.95 mIoU on VOC 2012 val, ResNet-101 at output stride 16, where batch norm is not fine-tuned,
against 77.21. The paper does not say whose statistics its batches have.

On one device "global" and "per_device" are the same training. A CPU shows several devices, as fast
as one, with XLA_FLAGS=--xla_force_host_platform_device_count=4.

Scale `small`: CamVid, MobileNetV2 from ImageNet weights (README, "Pretrained weights"; another file
is given by --config.init_from). On 4 devices, each has 2 images.
Scale `full`: the paper's net and first schedule, configs/voc.py. On 8 devices, each has 2 images.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_8 = "VOC 2012, ResNet-101"

EXPERIMENT = Experiment(
    rows={
        "global": Row({"batch_norm": "global"}, published=77.21, note=TABLE_8),
        "per_device": Row({"batch_norm": "per_device"}),
        "frozen": Row({"batch_norm": "frozen"}, published=75.95, note=TABLE_8),
    },
    baseline="global",
    scales={
        "small": Scale(
            "configs/camvid.py:deeplabv3,backbone=mobilenet_v2,aspp_channels=64,separable=True,"
            "padding=tf_same,norm_epsilon=0.001",
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
        "full": Scale(
            "configs/voc.py:deeplabv3,backbone=resnet101,multi_grid=(1,2,4),norm_momentum=0.9997",
            {"init_from": "hf://timm/resnet101.tv_in1k"},
        ),
    },
)
