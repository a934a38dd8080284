"""What do multi-grid, a fourth rate and image pooling add to ASPP?

Published: Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution" (DeepLabv3), 2017, Table
5: mIoU on VOC 2012 val, ResNet-101 at output stride 16, rates (6, 12, 18).

Scale `small`: CamVid, ResNet-50 at a quarter of its width, from scratch. Features are 10 rows high
in training and 24 in evaluation, instead of the paper's 33: its rates would only see padding, so
that they are halved.
Scale `full`: the paper's net and first schedule, configs/voc.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_5 = "VOC 2012, ResNet-101"

EXPERIMENT = Experiment(
    rows={
        "111": Row({"model.multi_grid": (1, 1, 1)}, published=75.36, note=TABLE_5),
        "121": Row({"model.multi_grid": (1, 2, 1)}, published=75.93, note=TABLE_5),
        "124": Row({"model.multi_grid": (1, 2, 4)}, published=76.58, note=TABLE_5),
        "124-rate24": Row({"model.multi_grid": (1, 2, 4)}, published=76.46, note=TABLE_5),
        "124-pooling": Row(
            {"model.multi_grid": (1, 2, 4), "model.image_pooling": True},
            published=77.21,
            note=TABLE_5,
        ),
    },
    baseline="124",
    scales={
        "small": Scale(
            "configs/camvid.py:deeplabv3,backbone=resnet50,width_multiplier=0.25,aspp_channels=64",
            {
                "model.image_pooling": False,
                "model.atrous_rates": (3, 6, 9),
                "total_steps": 150,
                "batch_size": 8,
                "schedule.learning_rate": 2e-3,
                "schedule.warmup_steps": 10,
                "augment.crop_size": (160, 224),
                "augment.scale": (0.5, 1.0),
                "eval.every": 0,
            },
            rows={"124-rate24": {"model.atrous_rates": (3, 6, 9, 12)}},
        ),
        "full": Scale(
            "configs/voc.py:deeplabv3,backbone=resnet101,norm_momentum=0.9997",
            {
                "model.image_pooling": False,
                "model.atrous_rates": (6, 12, 18),
                "init_from": "hf://timm/resnet101.tv_in1k",
            },
            rows={"124-rate24": {"model.atrous_rates": (6, 12, 18, 24)}},
        ),
    },
)
