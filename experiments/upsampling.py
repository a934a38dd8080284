"""Which upsampling leaves a checkerboard in the scores, and does it cost accuracy?

Published: none as numbers. Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts",
Distill 2016, show the patterns of transposed convolutions, and propose to resize before a
convolution: "nearest" and "bilinear" here, where a 3x3 follows. Ronneberger et al. 2015 (U-Net,
figure 1) have "transposed", 2x2 kernels at stride 2; max unpooling is SegNet's (Badrinarayanan,
Kendall, Cipolla, PAMI 2017, table 1).

Compared is the share of energy at the frequencies of stride 2, in decibels, a measure of ours
(jaxseg/evaluators/checkerboard.py); mIoU, and strides 4 and 8, are among each run's scores.

Scale `small`: nuclei, U-Net of 8 channels at full resolution.
Scale `full`: ISBI 2012, the paper's U-Net and schedule but for the upsampling.
"""

from jaxseg.sweeps import Experiment, Row, Scale

EVALS = {"evals": ("miou", "checkerboard")}

EXPERIMENT = Experiment(
    rows={
        "transposed": Row({"model.upsampling": "transposed"}),
        "nearest": Row({"model.upsampling": "nearest"}),
        "bilinear": Row({"model.upsampling": "bilinear"}),
        "bicubic": Row({"model.upsampling": "bicubic"}),
        "max_unpool": Row({"model.upsampling": "max_unpool"}),
        "bed_of_nails": Row({"model.upsampling": "bed_of_nails"}),
    },
    baseline="transposed",
    metric="checkerboard_2_db",
    higher_is_better=False,
    scales={
        "small": Scale(
            "configs/nuclei.py:unet,width=8",
            {
                **EVALS,
                "total_steps": 300,
                "augment.crop_size": (128, 128),
                "schedule.learning_rate": 2e-3,
                "schedule.warmup_steps": 10,
                "eval.every": 0,
            },
        ),
        "full": Scale(
            "configs/isbi_em.py:unet,padding=valid,batch_norm=False,dropout=(0.5,0.5)", EVALS
        ),
    },
)
