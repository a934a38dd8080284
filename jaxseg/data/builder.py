"""The TFDS builder that every prepared data set derives from, and reading what it wrote.

No TensorFlow: records are array_record, images stay the bytes of their source files, and our own
decoder reads them (TFDS's gives palette colours for indices, depending on what is installed).
"""

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32
from tqdm import tqdm

from jaxseg.data import digests
from jaxseg.data.checking import Check
from jaxseg.data.images import read_image
from jaxseg.data.layout import Layout, Pair, find_pairs
from jaxseg.data.mask_files import decode_mask, mask_size, read_mask
from jaxseg.data.pixels import RGB, PixelFormat, stored_formats
from jaxseg.data.source import Classes, Example
from jaxseg.errors import UserError, first_line

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
    hold something other than class indices, or `read_label` if labels are no mask files. One whose
    masks tell the classes overrides `begin`, `checked_label` and `classes` instead. What is wrong
    is an error once every file was read.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Give the folder that holds images/ and masks/."
    # nothing is downloaded, and TFDS's own look-up needs a package that it does not require
    url_infos = None
    CLASSES: Classes
    ANY_FOLDER = False  # a user's own folder rather than one published data set
    # the examples of each split as published, and the pattern of their names where these are
    # numbered from 1
    OFFICIAL: ClassVar[Mapping[str, int]] = {}
    NUMBERED: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        # else tfds.builder("cityscapes") would find ours instead of its own
        super().__init_subclass__(**{**options, "skip_registration": True})

    def __init__(self, **options: Any) -> None:
        self.notes: list[str] = []  # of the last preparation, as are
        self._formats: set[PixelFormat] = set()  # of its images, as stored
        self.contents: dict[str, str] = {}  # the digests of its splits, and
        self.images: dict[str, dict[bytes, str]] = {}  # their names by the digest of the image
        super().__init__(**options)

    @classmethod
    def find_pairs(cls, source: Path) -> Layout:
        """The files of each split, notes on what was left out, and what is wrong."""
        return find_pairs(source)

    @classmethod
    def files(cls, source: Path) -> dict[str, Path]:
        """Every file that the records depend on, by a name that does not depend on `source`."""
        return {
            f"{split}/{kind}/{pair.name}": path
            for split, listed in cls.find_pairs(source).pairs.items()
            for pair in listed
            for kind, path in (
                ("image", pair.image),
                ("mask", pair.mask),
                *((path.name, path) for path in pair.parts),
            )
        }

    @classmethod
    def official_notes(cls, directory: Path, sizes: Mapping[str, int]) -> list[str]:
        """In how far the splits in a folder of records are not those that were published."""
        notes = []
        for split, count in cls.OFFICIAL.items():
            if split not in sizes:
                notes.append(f"{split}: none of the {count:,} images as published")
            elif sizes[split] != count:
                notes.append(f"{split}: {sizes[split]:,} images, {count:,} as published")
                if pattern := cls.NUMBERED.get(split):
                    there = set(PreparedSource(directory, split).names())
                    numbered = (pattern.format(i) for i in range(1, count + 1))
                    missing = [name for name in numbered if name not in there]
                    notes[-1] += f"; missing {_some(missing)}"
        return notes

    def begin(self, source: Path) -> None:
        """Called before the masks in `source` are read."""

    def image(self, pair: Pair) -> bytes:
        """The image file to store; called by several threads, as are all below."""
        return pair.image.read_bytes()

    def read_label(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        """An example's class indices, checked."""
        return self.checked_label(pair.mask.read_bytes(), str(pair.mask))

    def label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        """The class indices in a mask file's bytes."""
        return read_mask(data, name)

    def checked_label(self, data: bytes, name: str) -> Int32[np.ndarray, "h w"]:
        """`label`; raises LabelError if a value is neither a class nor void."""
        label = self.label(data, name)
        self.CLASSES.check_label(label, name, RELABEL)
        return label

    def classes(self) -> Classes:
        """The classes; called after all masks have been read."""
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
        layout = self.find_pairs(source)
        self.notes = layout.notes
        check = Check(self, source, layout)
        last = [*layout.pairs][-1]
        return {
            split: self._generate(split, pairs, check, is_last=split == last)
            for split, pairs in layout.pairs.items()
        }

    def _generate_examples(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("_split_generators returns the generators themselves")

    def _generate(
        self, split: str, pairs: list[Pair], check: Check, *, is_last: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        # TFDS stores examples in the order of their names' hashes, so that a slice such as
        # train[:80%] is a fixed random sample and not the first scenes of a video
        found, self.images[split] = [], {}
        for pair, example in check.examples(pairs):
            found.append(example.digest)
            self._formats.add(example.pixels)
            self.images[split][example.image_digest] = pair.name
            yield (
                pair.name,
                {
                    "image": io.BytesIO(example.image),
                    # always a plain grey PNG, which any other reader of the records decodes alike
                    "label": io.BytesIO(example.label),
                    "name": pair.name,
                },
            )
        self.contents[split] = digests.split_digest(found)
        if is_last:
            self.notes += stored_formats(self._formats)
            # stored with the records: a prepared set knows its classes without this code
            assert self.info.metadata is not None
            self.info.metadata["classes"] = check.classes().to_dict()


def _some(names: list[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def split_sizes(directory: Path) -> dict[str, int]:
    """The number of examples of each split in a folder of records."""
    info = tfds.builder_from_directory(os.fspath(directory)).info
    return {split: int(info.splits[split].num_examples) for split in sorted(info.splits)}


def read_classes(directory: Path) -> Classes:
    """The classes of a folder of records."""
    metadata = tfds.builder_from_directory(os.fspath(directory)).info.metadata
    assert metadata is not None  # SegmentationBuilder writes it
    return Classes.from_dict(metadata["classes"])


def open_records(directory: Path, split: str, images: tuple[str, ...]) -> Any:
    """The records of a split or of a slice of one, a sequence of dicts.

    Args:
      directory: a folder of records.
      split: TFDS's name for it, such as "train[:80%]".
      images: the features that are files and stay so.

    Raises:
      UserError: no such split, or records that only TensorFlow can read.
    """
    builder = tfds.builder_from_directory(os.fspath(directory))
    raw = {key: tfds.decode.SkipDecoding() for key in images}
    try:
        # TFDS's decorator hides the parameters from type checkers
        return builder.as_data_source(split, decoders=raw)  # pyright: ignore[reportCallIssue]
    except NotImplementedError as error:
        raise UserError(
            f"{directory}: {first_line(error)}; prepare it with file_format=array_record"
        ) from error
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(
            f"data set {builder.name} has no split {split!r}; it has "
            f"{', '.join(sorted(builder.info.splits))}, or slices such as train[:80%]"
        ) from error


class PreparedSource:
    """One split of a prepared data set; `split` may be a TFDS slice such as "train[:80%]".

    Records hold the image files themselves, so that one preparation serves every format of pixels.

    Raises:
      UserError: no such split.
    """

    def __init__(self, directory: Path, split: str, pixels: PixelFormat = RGB) -> None:
        self._directory, self._pixels = directory, pixels
        self._records = open_records(directory, split, ("image", "label"))
        self.classes = read_classes(directory)

    def __len__(self) -> int:
        return len(self._records)

    def size(self, index: int, /) -> tuple[int, int]:
        record = self._record(index)
        return mask_size(record["label"], record["name"].decode())

    def __getitem__(self, index: int, /) -> Example:
        record = self._record(index)
        name = record["name"].decode()
        image = read_image(record["image"], name, self._pixels)
        return {"image": image, "label": decode_mask(record["label"], name), "name": name}

    def names(self) -> list[str]:
        """Of all examples; reads all records."""
        return [self._record(index)["name"].decode() for index in range(len(self))]

    def digest(self) -> str:
        """A digest of every example's name, image file and label, in any order."""
        examples = []
        for index in tqdm(
            range(len(self)), desc="checking", unit="image", disable=None, leave=False
        ):
            record = self._record(index)
            label = decode_mask(record["label"], record["name"].decode())
            image = digests.image_digest(record["image"])
            examples.append(digests.example_digest(record["name"], image, label))
        return digests.split_digest(examples)

    def _record(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        if record["name"] is None:  # what array_record gives for a file that was cut short
            raise UserError(f"{self._directory}: record {index} is damaged; prepare the data again")
        return record
