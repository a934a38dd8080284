"""What does DeepLabv3+'s decoder add, and how many low-level channels does it need?

Published: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-decoder with atrous separable convolution"
(DeepLabv3+), ECCV 2018, Table 3: mIoU on VOC 2012 val, ResNet-101 trained and evaluated at output
stride 16, without the decoder and with it (48 channels, two 3x3 convolutions of 256). The paper
varies the channels with one convolution (Table 1), which these rows do with two.

Scale `small`: CamVid, MobileNetV2 from ImageNet weights (README, "Pretrained weights"; another file
is given by --config.init_from), separable, 64 channels. Its low-level features have 24 channels,
where ResNet's have 256: from 32 on the rows widen them.
Scale `full`: the paper's net, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_3 = "VOC 2012, ResNet-101"

EXPERIMENT = Experiment(
    rows={
        "none": Row({"model.decoder": False}, published=77.21, note=TABLE_3),
        "8": Row({"model.low_level_channels": 8}),
        "16": Row({"model.low_level_channels": 16}),
        "32": Row({"model.low_level_channels": 32}),
        "48": Row({"model.low_level_channels": 48}, published=78.85, note=TABLE_3),
        "64": Row({"model.low_level_channels": 64}),
    },
    baseline="none",
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
        "full": Scale("configs/voc.py", {"init_from": "hf://timm/resnet101.tv_in1k"}),
    },
)
