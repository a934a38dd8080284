"""Which loss gives the best mIoU: of pixels, of overlaps, or the sum of both?

Published: no table with all of them on one data set. Each paper compares its loss with
cross-entropy: Lovász-Softmax (Berman et al. 2018) by DeepLabv2 on VOC and ENet on Cityscapes, Dice
(Milletari et al. 2016) and generalised Dice (Sudre et al. 2017) on medical volumes, focal loss (Lin
et al. 2017) on detection. Every loss has the options of jaxseg/losses as they come; none was tuned,
nor was the learning rate for it.

Scale `small`: nuclei, 2 classes, U-Net of 8 channels at full resolution.
Scale `small_camvid`: CamVid, 11 classes of very unequal size, DeepLabv3+ on MobileNetV2 from
ImageNet weights, as in `decoder.py`; without class weights.
Scale `full`: VOC 2012, DeepLabv3+ on ResNet-101, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "cross_entropy": Row(),
        "dice": Row({"loss.cross_entropy.weight": 0.0, "loss.dice.weight": 1.0}),
        "focal": Row({"loss.cross_entropy.weight": 0.0, "loss.focal.weight": 1.0}),
        "lovasz": Row({"loss.cross_entropy.weight": 0.0, "loss.lovasz.weight": 1.0}),
        "ohem": Row({"loss.cross_entropy.weight": 0.0, "loss.ohem.weight": 1.0}),
        "cross_entropy+dice": Row({"loss.dice.weight": 1.0}),
        "cross_entropy+lovasz": Row({"loss.lovasz.weight": 1.0}),
    },
    baseline="cross_entropy",
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
        "small_camvid": Scale(
            "configs/camvid.py:deeplabv3plus,backbone=mobilenet_v2,aspp_channels=64,"
            "decoder_channels=64,separable=True,padding=tf_same,norm_epsilon=0.001",
            {
                "init_from": "mobilenet_v2_1.0_224_imagenet_folded.npz",
                "dataset.mean": (127.5, 127.5, 127.5),
                "dataset.std": (127.5, 127.5, 127.5),
                "total_steps": 240,
                "batch_size": 8,
                "schedule.warmup_steps": 20,
                "augment.crop_size": (160, 224),
                "augment.scale": (0.5, 1.0),
                "eval.every": 0,
            },
        ),
        "full": Scale("configs/voc.py", {"init_from": "hf://timm/resnet101.tv_in1k"}),
    },
)
