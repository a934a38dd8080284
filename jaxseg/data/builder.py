"""The TFDS builder that every prepared data set derives from, and reading what it wrote.

No TensorFlow: records are array_record, images stay the bytes of their source files, and our own
decoder reads them (TFDS's gives palette colours for indices, depending on what is installed).
"""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32
from tqdm import tqdm

from jaxseg.data.images import decode_mask, encode_mask, mask_size, read_image, read_mask
from jaxseg.data.layout import Pair, find_pairs
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError

RELABEL = (
    "relabel the mask, or prepare it as data set `folder` with a classes.json: "
    '{"names": [...], "values": [...]}'
)


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Nothing: TFDS would ask Google's servers for what its own data sets have there.

        It would leave an empty folder in the system's temporary folder, too.
        """


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes image and mask files as TFDS records and checks every example.

    A data set is one file in `sets/` with a subclass, bound to the name `Builder`, that sets
    `CLASSES`, overrides `find_pairs` if its files have another layout, and `label` if its masks
    hold something other than class indices.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Give the folder that holds images/ and masks/."
    # nothing is downloaded, and TFDS's own look-up needs a package that it does not require
    url_infos = None
    CLASSES: Classes
    ANY_FOLDER = False  # a user's own folder rather than one published data set
    notes: tuple[str, ...] = ()  # of the last preparation

    @classmethod
    def find_pairs(cls, source: Path) -> tuple[dict[str, list[Pair]], list[str]]:
        """The files of each split, and notes on what was left out."""
        return find_pairs(source)

    @classmethod
    def files(cls, source: Path) -> dict[str, Path]:
        """Every file that the records depend on, by a name that does not depend on `source`."""
        pairs, _ = cls.find_pairs(source)
        return {
            f"{split}/{kind}/{pair.name}": path
            for split, listed in pairs.items()
            for pair in listed
            for kind, path in (("image", pair.image), ("mask", pair.mask))
        }

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        """The class indices in a mask file's bytes."""
        return read_mask(data, name)

    def find_classes(self, source: Path, pairs: dict[str, list[Pair]]) -> Classes:
        """The classes of the data in `source`; called before anything is written."""
        del source, pairs
        return self.CLASSES

    def _log_download_bytes(self) -> None:
        """Silent: TFDS would announce a download of unknown size."""

    def _log_download_done(self) -> None:
        """Silent: `prepare` returns a summary."""

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(),
            "label": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16),
            "name": tfds.features.Text(),
        }
        return _Info(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        source = Path(os.fspath(dl_manager.manual_dir))
        pairs, notes = self.find_pairs(source)
        self.notes = tuple(notes)
        classes = self.find_classes(source, pairs)
        # stored with the records: a prepared set knows its classes without this code
        assert self.info.metadata is not None
        self.info.metadata["classes"] = classes.to_dict()
        return {split: self._generate(split, pairs[split], classes) for split in pairs}

    def _generate_examples(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("_split_generators returns the generators themselves")

    def _generate(
        self, split: str, pairs: list[Pair], classes: Classes
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        # TFDS stores examples in the order of their names' hashes, so that a slice such as
        # train[:80%] is a fixed random sample and not the first scenes of a video
        for pair in tqdm(pairs, desc=f"preparing {split}", unit="image", disable=None):
            image, label = check_pair(pair, self, classes)
            yield (
                pair.name,
                {
                    "image": io.BytesIO(image),
                    # always a plain grey PNG, which any other reader of the records decodes alike
                    "label": io.BytesIO(encode_mask(label)),
                    "name": pair.name,
                },
            )


def check_pair(
    pair: Pair, builder: SegmentationBuilder, classes: Classes
) -> tuple[bytes, Int32[np.ndarray, "h w"]]:
    """The image's bytes and its label.

    Raises:
      UserError: either file is unreadable, their sizes differ, or a value is no class nor void.
    """
    image_bytes = pair.image.read_bytes()
    image = read_image(image_bytes, str(pair.image))
    label = builder.label(pair.mask.read_bytes(), str(pair.mask))
    if image.shape[:2] != label.shape:
        (h, w), (mask_h, mask_w) = image.shape[:2], label.shape
        raise UserError(
            f"{pair.image}: {w}x{h} (upright by its EXIF orientation), its mask "
            f"{pair.mask.name} is {mask_w}x{mask_h}; make both one size"
        )
    classes.check_label(label, str(pair.mask), RELABEL)
    return image_bytes, label


def split_sizes(directory: Path) -> dict[str, int]:
    """The number of examples of each split in a folder of records."""
    info = tfds.builder_from_directory(os.fspath(directory)).info
    return {split: int(info.splits[split].num_examples) for split in sorted(info.splits)}


def read_classes(directory: Path) -> Classes:
    """The classes of a folder of records."""
    metadata = tfds.builder_from_directory(os.fspath(directory)).info.metadata
    assert metadata is not None  # SegmentationBuilder writes it
    return Classes.from_dict(metadata["classes"])


class PreparedSource:
    """One split of a prepared data set; `split` may be a TFDS slice such as "train[:80%]".

    Raises:
      UserError: no such split.
    """

    def __init__(self, directory: Path, split: str) -> None:
        self._directory = directory
        builder = tfds.builder_from_directory(os.fspath(directory))
        raw = {key: tfds.decode.SkipDecoding() for key in ("image", "label")}
        try:
            # TFDS's decorator hides the parameters from type checkers
            self._records = builder.as_data_source(split, decoders=raw)  # pyright: ignore[reportCallIssue]
        except (ValueError, KeyError, AssertionError) as error:
            raise UserError(
                f"data set {builder.name} has no split {split!r}; it has "
                f"{', '.join(sorted(builder.info.splits))}, or slices such as train[:80%]"
            ) from error
        self.classes = read_classes(directory)

    def __len__(self) -> int:
        return len(self._records)

    def size(self, index: int, /) -> tuple[int, int]:
        record = self._record(index)
        return mask_size(record["label"], record["name"].decode())

    def __getitem__(self, index: int, /) -> Example:
        record = self._record(index)
        name = record["name"].decode()
        image = read_image(record["image"], name)
        return {"image": image, "label": decode_mask(record["label"], name), "name": name}

    def digest(self) -> str:
        """A digest of every example's name, image file and label, in any order."""
        examples = []
        for index in tqdm(
            range(len(self)), desc="checking", unit="image", disable=None, leave=False
        ):
            record = self._record(index)
            label = decode_mask(record["label"], record["name"].decode())
            digest = hashlib.sha256(record["name"] + b"\0" + str(label.shape).encode())
            # the label's values, not its PNG: encoders differ
            digest.update(hashlib.sha256(record["image"]).digest() + label.astype("<i4").tobytes())
            examples.append(digest.digest())
        return hashlib.sha256(b"".join(sorted(examples))).hexdigest()[:16]

    def _record(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        if record["name"] is None:  # what array_record gives for a file that was cut short
            raise UserError(f"{self._directory}: record {index} is damaged; prepare the data again")
        return record
