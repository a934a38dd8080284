"""Data sets of TFDS's own catalogue that are prepared already: read without TensorFlow.

`jaxseg data prepare tfds --builder oxford_iiit_pet` prepares one, which takes TensorFlow.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxseg.data.builder import open_records
from jaxseg.data.images import read_image
from jaxseg.data.mask_files import mask_size, read_mask
from jaxseg.data.preparation import resolve_data_dir
from jaxseg.data.relabelling import relabel
from jaxseg.data.sets.cityscapes import TRAIN_IDS, Cityscapes
from jaxseg.data.sets.oxford_pets import OxfordPets
from jaxseg.data.source import Classes, Example
from jaxseg.defaults import Dataset
from jaxseg.errors import UserError, suggest


@dataclasses.dataclass(frozen=True)
class Form:
    """How a set of the catalogue stores its examples."""

    image: str  # names of features
    label: str
    name: str
    labels: Mapping[int, int]  # class by value
    classes: Classes


FORMS = {
    "oxford_iiit_pet": Form(
        "image", "segmentation_mask", "file_name", {1: 0, 2: 1, 3: 2}, OxfordPets.CLASSES
    ),
    "cityscapes": Form(
        "image_left", "segmentation_label", "image_id", TRAIN_IDS, Cityscapes.CLASSES
    ),
}


def form(builder: str) -> Form:
    """How a set stores its examples; raises UserError for one that is not known here."""
    if builder == "scene_parse150":
        raise UserError(
            "TFDS's scene_parse150 stores the instances of 2017 (annotations_instance.tar) rather "
            "than the 150 classes: prepare ade20k from ADEChallengeData2016.zip"
        )
    if builder not in FORMS:
        raise UserError(
            f"dataset.builder is {builder!r}; {suggest(builder, FORMS)}; add others to "
            "jaxseg/data/sets/tfds.py"
        )
    return FORMS[builder]


def load(dataset: Dataset, split: str) -> "Prepared":
    """A split of the set that `dataset.options["builder"]` names.

    Raises:
      UserError: an unknown set or split, or records that are not there or of TensorFlow's kind.
    """
    name = str(dataset.options.get("builder", ""))
    known = form(name)
    data_dir = resolve_data_dir(None, dataset.data_dir)
    found = sorted(path.parent for path in (data_dir / name).rglob("dataset_info.json"))
    if not found:
        raise UserError(
            f"{name} is not prepared in {data_dir}; prepare it there by TFDS with file_format="
            f'"array_record", or by: jaxseg data prepare tfds --builder {name}'
        )
    return Prepared(known, found[-1], split)


class Prepared:
    """One split, or a slice of one such as "train[:80%]"."""

    def __init__(self, known: Form, directory: Path, split: str) -> None:
        self.classes = known.classes
        self._form = known
        self._records = open_records(directory, split, (known.image, known.label))

    def __len__(self) -> int:
        return len(self._records)

    def size(self, index: int, /) -> tuple[int, int]:
        return mask_size(self._records[index][self._form.label], f"example {index}")

    def __getitem__(self, index: int, /) -> Example:
        record: dict[str, Any] = self._records[index]
        known = self._form
        name = Path(record[known.name].decode()).stem
        values = read_mask(record[known.label], name)
        label = relabel(values, known.labels, name, "what the catalogue's set holds")
        return {"image": read_image(record[known.image], name), "label": label, "name": name}
