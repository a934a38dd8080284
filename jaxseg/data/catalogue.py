"""Prepares a data set of TFDS's own catalogue, by TensorFlow, for `sets/tfds.py` to read."""

import importlib.util
import os
from pathlib import Path

from jaxseg.errors import UserError, first_line


def prepare(builder: str, source: str | None, data_dir: Path) -> str:
    """Downloads and writes a set as array_record; returns what was made in one line.

    Args:
      builder: its name in the catalogue, one that `sets/tfds.py` knows.
      source: the folder of what has to be downloaded by hand, where there is such.
      data_dir: where prepared data sets live.

    Raises:
      UserError: TensorFlow is not installed, or TFDS can't prepare it.
    """
    from jaxseg.data.sets import tfds as known

    known.form(builder)
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"preparing {builder} from TFDS's catalogue needs TensorFlow: pip install "
            "'jaxseg[prepare]'; records that somebody prepared elsewhere need none"
        )
    import tensorflow_datasets as tfds

    made = tfds.builder(builder, data_dir=data_dir, file_format="array_record")
    download = tfds.download.DownloadConfig(manual_dir=source and os.fspath(source))
    try:
        made.download_and_prepare(download_config=download)
    except Exception as error:  # of many types: network, disk, files that are missing
        raise UserError(f"TFDS could not prepare {builder}: {first_line(error)}") from error
    sizes = ", ".join(f"{name} {split.num_examples}" for name, split in made.info.splits.items())
    return f"{builder}: {sizes} examples in {made.data_dir}"
