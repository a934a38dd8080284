"""Your own folder of images and masks, in one command.

Data:    DIR/{train,val}/{images,masks}, paired by file name, or DIR/{images,masks}, of which a
         fifth is for validation, chosen by a hash of the names. A mask holds class indices (palette
         or grey PNG). An optional DIR/classes.json names them:
         {"names": ["background", "cat"], "colours": [[0, 0, 0], [255, 0, 0]], "void": 255}
         For masks of other values or of colours an error shows what to write to it. The folder is
         checked and prepared on first use, and again when a file changes.
         Other forms: --config.dataset.name=file_list for images and masks that CSV or JSON files
         list, labelme for labelme's files, coco_json for annotations in COCO's form; each file of
         jaxseg/data/sets says how DIR is laid out.
Claim:   a usable first model in minutes on a laptop. Measured with the command below on 2 CPU cores
         in 8.2 minutes, of 28 photographs of the retina with 999x960 pixels (CHASE_DB1, the first
         observer's vessels; 22 to train, 6 to validate): vessel IoU 56.20, at the best step 57.26;
         1.6 GiB of memory. For higher scores make it wider (`:unet,width=64`), crops larger and
         training longer; it says what that takes.
Command: jaxseg train --config configs/folder.py --config.dataset.source=DIR --workdir runs/my
"""

from ml_collections import ConfigDict

from jaxseg import defaults


def get_config(arg: str = "unet,width=16") -> ConfigDict:
    config = defaults.get_config(arg)
    config.total_steps = 800
    config.batch_size = 4

    config.dataset.name = "folder"

    config.augment.crop_size = (192, 192)
    config.augment.scale = (0.75, 1.5)
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-2
    config.schedule.name = "cosine"
    config.schedule.learning_rate = 2e-3
    config.schedule.warmup_steps = 50

    config.eval.every = 200
    config.eval.batch_size = 1  # whole images, which may be large and of many sizes
    config.checkpoint.every = 200
    return config
