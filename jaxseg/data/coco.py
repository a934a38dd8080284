"""COCO's categories, and its JSON files."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxseg.data.polygons import filled
from jaxseg.data.run_lengths import from_counts
from jaxseg.data.source import LabelError
from jaxseg.errors import UserError

# COCO-Stuff's labels.txt from id 1 on: things are 1 to 91, stuff is 92 to 182
NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
street sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis,
snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket,
bottle, plate, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli,
carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, mirror, dining table, window,
desk, toilet, door, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, blender, book, clock, vase, scissors, teddy bear, hair drier, toothbrush, hair brush,
banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt,
door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog,
food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat,
metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other,
plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea,
shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table,
tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel,
wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
# the things that COCO has no annotations of: street sign, hat, shoe, eye glasses, plate, mirror,
# window, desk, door, blender, hair brush
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
CATEGORIES: Mapping[int, str] = {
    i: name
    for i, name in enumerate(NAMES.replace("\n", " ").strip().split(", "), start=1)
    if i not in UNUSED
}
# of the panoptic annotations, whose other stuff was merged (panoptic_coco_categories.json)
MERGED: Mapping[int, str] = {
    184: "tree-merged",
    185: "fence-merged",
    186: "ceiling-merged",
    187: "sky-other-merged",
    188: "cabinet-merged",
    189: "table-merged",
    190: "floor-other-merged",
    191: "pavement-merged",
    192: "mountain-merged",
    193: "grass-merged",
    194: "dirt-merged",
    195: "paper-merged",
    196: "food-other-merged",
    197: "building-other-merged",
    198: "rock-merged",
    199: "wall-other-merged",
    200: "rug-merged",
}
OFFICIAL = {"train": 118287, "val": 5000}
FIX = "give COCO's archives as they are downloaded, or a folder that holds them unpacked"


@dataclasses.dataclass(frozen=True)
class Annotations:
    """A JSON file in COCO's form: its images by file name, and what is annotated in each."""

    sizes: Mapping[str, tuple[int, int]]  # height, width by file name
    objects: Mapping[str, list[dict[str, Any]]]  # by file name
    categories: Mapping[int, str]


def read_annotations(path: Path) -> Annotations:
    """The content of a COCO JSON file, kept until the file changes or another two were read.

    Raises:
      UserError: not such a file.
    """
    return _read(path, path.stat().st_mtime_ns)


def mask_of(segmentation: Any, size: tuple[int, int], name: str) -> Bool[np.ndarray, "h w"]:
    """A COCO segmentation: polygons as lists of x, y, x, y, ..., or run lengths.

    Raises:
      LabelError: it is neither.
    """
    if isinstance(segmentation, dict):
        return from_counts(segmentation["counts"], size, name)
    mask = np.zeros(size, bool)
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) % 2:
            raise LabelError(f"{name}: polygon {str(polygon)[:40]}, expected [x, y, x, y, ...]")
        mask |= filled(np.array(polygon, np.float64).reshape(-1, 2), size)
    return mask


@functools.lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> Annotations:
    try:
        content = json.loads(path.read_bytes())
        names = {image["id"]: image["file_name"] for image in content["images"]}
        sizes = {i["file_name"]: (int(i["height"]), int(i["width"])) for i in content["images"]}
        objects: dict[str, list[dict[str, Any]]] = {name: [] for name in sizes}
        for each in content["annotations"]:
            objects[names[each["image_id"]]].append(each)
        categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not a COCO file of images, annotations and categories ({error!r}); take it "
            "from the official archive, or export it again"
        ) from error
    return Annotations(sizes, objects, categories)
