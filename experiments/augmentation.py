"""Which augmentation matters where few images are labelled? Each left out, and all of it.

Published: none as numbers. Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, section 3.1, call
elastic deformation the key to training with very few images; the paper's tables 1 and 2 have no net
without it.

The random draws of what remains are the same in all rows.

Scale `small`: 30 images of the nuclei, U-Net of 8 channels at full resolution.
Scale `full`: ISBI 2012, 24 slices, the padded U-Net of configs/isbi_em.py.
"""

from jaxseg.sweeps import Experiment, Row, Scale

NO_FLIPS = {"augment.flip": False, "augment.vertical_flip": False, "augment.rotate90": False}
NO_SCALE = {"augment.scale": (1.0, 1.0)}
NO_COLOUR = {"augment.brightness": 0.0, "augment.contrast": 0.0}
NO_ELASTIC = {"augment.elastic": 0.0}

EXPERIMENT = Experiment(
    rows={
        "all": Row(),
        "no-flips": Row(NO_FLIPS),
        "no-scale": Row(NO_SCALE),
        "no-colour": Row(NO_COLOUR),
        "no-elastic": Row(NO_ELASTIC),
        "none": Row({**NO_FLIPS, **NO_SCALE, **NO_COLOUR, **NO_ELASTIC}),
    },
    baseline="all",
    scales={
        "small": Scale(
            "configs/nuclei.py:unet,width=8",
            {
                "dataset.train_split": "train[:30]",
                "augment.elastic": 5.0,
                "total_steps": 300,
                "augment.crop_size": (128, 128),
                "schedule.learning_rate": 2e-3,
                "schedule.warmup_steps": 10,
                "eval.every": 0,
            },
        ),
        "full": Scale("configs/isbi_em.py:unet", {"augment.elastic": 10.0}),
    },
)
