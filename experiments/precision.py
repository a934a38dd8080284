"""Does computing in bfloat16 cost accuracy?

Published: no table; bfloat16 has 8 bits of precision and float32's range (Kalamkar et al. 2019, "A
study of BFLOAT16 for deep learning training"). Parameters, statistics, logits and losses are
float32 in both rows. "Equivalent" means within 0.5 mIoU.

Scale `small`: nuclei, U-Net of 8 channels at full resolution. A CPU may be slower in bfloat16.
Scale `full`: VOC 2012, DeepLabv3+ on ResNet-101, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "float32": Row({"dtype": "float32"}),
        "bfloat16": Row({"dtype": "bfloat16"}),
    },
    baseline="float32",
    margin=0.5,
    scales={
        "small": Scale(
            "configs/nuclei.py:unet,width=8",
            {
                "total_steps": 300,
                "augment.crop_size": (128, 128),
                "schedule.learning_rate": 2e-3,
                "schedule.warmup_steps": 10,
                "eval.every": 0,
            },
        ),
        "full": Scale("configs/voc.py", {"init_from": "hf://timm/resnet101.tv_in1k"}),
    },
)
