"""What do depthwise separable convolutions in ASPP and decoder cost in accuracy, and save?

Published: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-decoder with atrous separable convolution"
(DeepLabv3+), ECCV 2018, section 4.3 and Table 5: multiply-adds of the Xception nets fall by 33 to
41 %, at similar mIoU. The paper has no such pair on ResNet-101, so that no row has its number.

"one-norm" leaves out batch norm and ReLU between the depthwise and the 1x1 convolution, which are
in the authors' code.

Scale `small`: CamVid, MobileNetV2 from ImageNet weights (README, "Pretrained weights"; another file
is given by --config.init_from), 128 channels.
Scale `full`: VOC 2012, ResNet-101, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "dense": Row({"model.separable": False}),
        "separable": Row({"model.separable": True}),
        "one-norm": Row({"model.separable": True, "model.depthwise_norm": False}),
    },
    baseline="dense",
    margin=0.5,
    scales={
        "small": Scale(
            "configs/camvid.py:deeplabv3plus,backbone=mobilenet_v2,aspp_channels=128,"
            "decoder_channels=128,padding=tf_same,norm_epsilon=0.001",
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
