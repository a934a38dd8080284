"""How large must crops and batches be?

Published: Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution" (DeepLabv3), 2017, mIoU
on VOC 2012 val, ResNet-101 at output stride 16: Table 8 for crops of 321 instead of 513 pixels,
Table 9 for batches of 4, 8 and 12 images instead of 16, all with as many steps. (Table 8's logits
that are not upsampled in training have no row: the loss always sees labels at full size. Its batch
norm that is not fine-tuned is in batch_norm.py.)

Scale `small`: CamVid, MobileNetV2 from ImageNet weights (README, "Pretrained weights"; another file
is given by --config.init_from), crops of 128x160 and 96x96 pixels.
Scale `full`: the paper's net and first schedule, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_8 = "Table 8: VOC 2012, ResNet-101"
TABLE_9 = "Table 9: VOC 2012, ResNet-101"

EXPERIMENT = Experiment(
    rows={
        "batch16": Row({"batch_size": 16}, published=77.21, note=TABLE_9),
        "batch12": Row({"batch_size": 12}, published=76.49, note=TABLE_9),
        "batch8": Row({"batch_size": 8}, published=75.76, note=TABLE_9),
        "batch4": Row({"batch_size": 4}, published=64.43, note=TABLE_9),
        "small-crop": Row({"batch_size": 16}, published=67.22, note=TABLE_8),
    },
    baseline="batch16",
    scales={
        "small": Scale(
            "configs/camvid.py:deeplabv3,backbone=mobilenet_v2,aspp_channels=64,separable=True,"
            "padding=tf_same,norm_epsilon=0.001",
            {
                "init_from": "mobilenet_v2_1.0_224_imagenet_folded.npz",
                "dataset.mean": (127.5, 127.5, 127.5),
                "dataset.std": (127.5, 127.5, 127.5),
                "total_steps": 100,
                "schedule.warmup_steps": 10,
                "augment.crop_size": (128, 160),
                "augment.scale": (0.5, 1.0),
                "eval.every": 0,
            },
            rows={"small-crop": {"augment.crop_size": (96, 96)}},
        ),
        "full": Scale(
            "configs/voc.py:deeplabv3,backbone=resnet101,multi_grid=(1,2,4),norm_momentum=0.9997",
            {"init_from": "hf://timm/resnet101.tv_in1k"},
            rows={"small-crop": {"augment.crop_size": (321, 321)}},
        ),
    },
)
