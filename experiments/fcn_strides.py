"""What do FCN's skips add? FCN-32s, 16s and 8s, trained stage by stage and all at once.

Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
Table 2: VOC 2011, 736 validation images, each net begun from the coarser one's weights. Training
all skips at once is of the journal's version (PAMI 2017, section 4.3), where it scores as well.

At scale `small`: VGG16 at a quarter of its width with batch norm, from scratch, on CamVid.
"""

from jaxseg.sweeps import Experiment, Row, Scale

TABLE_2 = "VOC 2011, VGG16 from ImageNet"

EXPERIMENT = Experiment(
    rows={
        "32s": Row({"model.stride": 32}, published=59.4, note=TABLE_2),
        "16s": Row({"model.stride": 16}, begins_from="32s", published=62.4, note=TABLE_2),
        "8s": Row({"model.stride": 8}, begins_from="16s", published=62.7, note=TABLE_2),
        "16s-at-once": Row({"model.stride": 16, "model.at_once": True}),
        "8s-at-once": Row({"model.stride": 8, "model.at_once": True}),
    },
    baseline="32s",
    scales={
        "small": Scale(
            "configs/camvid.py:fcn,width_multiplier=0.25,fc_width=256,batch_norm=True",
            {"total_steps": 300, "batch_size": 4, "augment.crop_size": (192, 256)},
        ),
        "full": Scale("configs/voc.py:fcn", {"init_from": "hf://timm/vgg16.tv_in1k"}),
    },
)
