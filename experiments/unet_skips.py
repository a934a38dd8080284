"""Which of U-Net's skips matter? Each removed, and all of them.

Published: none. Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, section 2 and figure 1 argue for
the skips; the paper's tables 1 and 2 have no net without them.

A removed skip takes the weights that read it with it (`without_skips` of jaxseg/models/unet.py):
level 0 is full resolution, 3 the coarsest.

Scale `small`: nuclei, 8 channels at full resolution instead of 64, padded.
Scale `full`: ISBI 2012, the paper's net and schedule.
"""

from jaxseg.sweeps import Experiment, Row, Scale

EXPERIMENT = Experiment(
    rows={
        "all": Row(),
        "without-0": Row({"model.without_skips": (0,)}),
        "without-1": Row({"model.without_skips": (1,)}),
        "without-2": Row({"model.without_skips": (2,)}),
        "without-3": Row({"model.without_skips": (3,)}),
        "none": Row({"model.without_skips": (0, 1, 2, 3)}),
    },
    baseline="all",
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
        "full": Scale("configs/isbi_em.py:unet,padding=valid,batch_norm=False,dropout=(0.5,0.5)"),
    },
)
