"""Is it worth to train, or only to evaluate, at a finer output stride?

Published: Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution" (DeepLabv3), 2017, Table
10: mIoU on VOC 2012 val, ResNet-101, for each pair of strides in training and evaluation.

Rows are TRAINED-EVALUATED. Three nets are trained; the other rows evaluate them at another stride.

Scale `small`: CamVid, MobileNetV2 from ImageNet weights (README, "Pretrained weights"; another file
is given by --config.init_from), narrow separable ASPP.
Scale `full`: the paper's net and first schedule, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_10 = "VOC 2012, ResNet-101"

EXPERIMENT = Experiment(
    rows={
        "16-16": Row({"model.output_stride": 16}, published=77.21, note=TABLE_10),
        "16-8": Row({"model.output_stride": 8}, evaluates="16-16", published=78.51, note=TABLE_10),
        "8-8": Row({"model.output_stride": 8}, published=75.62, note=TABLE_10),
        "8-16": Row({"model.output_stride": 16}, evaluates="8-8", published=74.45, note=TABLE_10),
        "32-32": Row({"model.output_stride": 32}),
        "32-16": Row(
            {"model.output_stride": 16}, evaluates="32-32", published=75.90, note=TABLE_10
        ),
        "32-8": Row({"model.output_stride": 8}, evaluates="32-32", published=75.75, note=TABLE_10),
    },
    baseline="16-16",
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
