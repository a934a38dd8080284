"""What do FCN's skips add? FCN-32s, 16s and 8s, trained stage by stage and all at once.

Published: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR
2015, Table 2: 59.4, 62.4 and 62.7 mIoU on VOC 2011, 736 validation images, each net begun from the
coarser one's weights. Training all skips at once is the journal's (PAMI 2017, section 4.3).

A stage adds steps as well as a skip. So the other rows train for as many steps as 8s has in its
three stages, and "32s-longer" says what the steps alone add.

Scale `small`: CamVid, VGG16 at a quarter of its width with batch norm, from scratch.
Scale `full`: VOC 2012, the recipe of configs/voc.py, which is not the paper's.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_2 = "VOC 2011, trained with momentum 0.99, one image a step"
AS_LONG = ("32s-longer", "16s-at-once", "8s-at-once")  # as the three stages of 8s

EXPERIMENT = Experiment(
    rows={
        "32s": Row({"model.stride": 32}, published=59.4, note=TABLE_2),
        "16s": Row(
            {"model.stride": 16, "init_fresh": ("score_pool4", "up_to_pool4")},
            begins_from="32s",
            published=62.4,
            note=TABLE_2,
        ),
        "8s": Row(
            {"model.stride": 8, "init_fresh": ("score_pool3", "up_to_pool3")},
            begins_from="16s",
            published=62.7,
            note=TABLE_2,
        ),
        "32s-longer": Row({"model.stride": 32}),
        "16s-at-once": Row({"model.stride": 16, "model.at_once": True}),
        "8s-at-once": Row({"model.stride": 8, "model.at_once": True}),
    },
    baseline="32s",
    scales={
        "small": Scale(
            "configs/camvid.py:fcn,width_multiplier=0.25,fc_width=256,batch_norm=True",
            {
                "total_steps": 120,
                "batch_size": 4,
                "schedule.learning_rate": 2e-3,
                "schedule.warmup_steps": 10,
                "augment.crop_size": (192, 256),
                "augment.scale": (0.5, 1.0),
                "eval.every": 0,
            },
            rows={name: {"total_steps": 360} for name in AS_LONG},
        ),
        "full": Scale(
            "configs/voc.py:fcn",
            {"init_from": "hf://timm/vgg16.tv_in1k", "total_steps": 10_000},
            rows={name: {"total_steps": 30_000} for name in AS_LONG},
        ),
    },
)
