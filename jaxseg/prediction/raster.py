"""GeoTIFFs of any size: read and written a few rows at a time, with their georeference.

rasterio comes with the extra `geo`. The mask is a GeoTIFF of class indices with the palette, in the
raster's own grid; pixels without data there have none here. Held are what `sliding` says and a few
rows of pixels.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt
from tqdm import tqdm

from jaxseg import files
from jaxseg.data import tiff
from jaxseg.data.images import as_pixels
from jaxseg.errors import UserError
from jaxseg.prediction.model import Model

MASK = ".tif"
_GEO_TAGS = (33550, 33922, 34264, 34735)  # pixel scale, tie points, transformation, geo keys
_BLOCK = 256  # a tile's side: rows are written by whole tiles
_CACHE_BYTES = 2**26  # GDAL's own, else a twentieth of the machine's memory


def is_raster(path: Path) -> bool:
    """Whether it is a TIFF that says where on Earth it lies; read from its header alone."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with path.open("rb") as file:
            tags = tiff.tags_of(file)
    except OSError:
        return False  # reading it as an image says what is wrong
    return tags is not None and any(tag in tags for tag in _GEO_TAGS)


def predict(model: Model, path: Path, target: Path) -> int:
    """Predict a raster by sliding windows, and write `target` + `MASK`, whole or not at all.

    For a model of RGB or grey its first three bands are RGB and a single one is grey, see
    `data.images.as_pixels`; others want as many bands as they have channels.
    Without a window in the model's views it has the size of the training's crops.

    Returns:
      The number of pixels.

    Raises:
      UserError: rasterio is missing, can't read it, or the model can't slide.
    """
    rasterio = _rasterio()
    model = _with_window(model)
    try:
        with (
            rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
            rasterio.open(path) as source,
            files.replacing(target.with_name(target.name + MASK)) as partial,
        ):
            with rasterio.open(partial, "w", **_profile(source, model)) as out:
                if source.gcps[0]:
                    out.gcps = source.gcps
                if out.dtypes[0] == "uint8":
                    out.write_colormap(1, dict(enumerate(model.palette)))
                _write(model, source, out, str(path))
            return source.width * source.height
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{path}: {error}") from None


def _rasterio() -> Any:
    try:
        import rasterio
        import rasterio.errors
    except ImportError:
        raise UserError(
            "this GeoTIFF needs rasterio, which keeps where on Earth it lies: "
            "pip install jaxseg[geo]"
        ) from None
    return rasterio


def _with_window(model: Model) -> Model:
    if model.module.context:
        raise UserError(
            "rasters are predicted by sliding windows, and this model is unpadded, whose tiles "
            "see the image around them: save the raster as a PNG"
        )
    if model.run.program.views.has_window:
        return model
    return model.with_views(window=model.config.augment.crop_size)


def _profile(source: Any, model: Model) -> dict[str, Any]:
    """Of the mask: the raster's grid; the highest value, if no class has it, means no data."""
    kind = np.uint8 if len(model.names) <= 256 else np.uint16
    highest = np.iinfo(kind).max
    return {
        "driver": "GTiff",
        "width": source.width,
        "height": source.height,
        "count": 1,
        "dtype": np.dtype(kind).name,
        "nodata": int(highest) if len(model.names) <= highest else None,
        "crs": source.crs,
        "transform": source.transform,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }


def _write(model: Model, source: Any, out: Any, name: str) -> None:
    from rasterio.windows import Window

    bands = [*source.indexes]
    if model.pixels.channels in (1, 3):
        bands = bands[: 3 if source.count >= 3 else 1]
    has_gaps = any("all_valid" not in {f.name for f in flags} for flags in source.mask_flag_enums)

    def rows_of(low: int, high: int) -> Any:
        return Window(0, low, source.width, high - low)  # pyright: ignore[reportCallIssue]

    def read(low: int, high: int) -> UInt[np.ndarray, "_ w c"]:
        pixels = source.read(bands, window=rows_of(low, high))
        return as_pixels(np.moveaxis(pixels, 0, -1), name, model.pixels)

    parts = model.rows(read, (source.height, source.width))
    with tqdm(total=source.height, unit="row", disable=None, leave=False) as bar:
        first = 0
        for mask in _by_blocks(probabilities.argmax(-1) for _, probabilities in parts):
            rows = rows_of(first, first + len(mask))
            mask = mask.astype(out.dtypes[0])
            if has_gaps and out.nodata is not None:
                mask[source.dataset_mask(window=rows) == 0] = out.nodata
            out.write(mask, 1, window=rows)
            first += len(mask)
            bar.update(len(mask))


def _by_blocks(parts: Iterable[np.ndarray]) -> Iterator[Int[np.ndarray, "_ w"]]:
    """The same rows, as many at a time as a tile has: no tile is compressed twice."""
    waiting: list[np.ndarray] = []
    for part in itertools.chain(parts, [None]):
        if part is not None:
            waiting.append(part)
        count = sum(map(len, waiting))
        if part is not None and count < _BLOCK:
            continue
        rows = np.concatenate(waiting)
        whole = count if part is None else count // _BLOCK * _BLOCK
        yield from (rows[i : min(i + _BLOCK, whole)] for i in range(0, whole, _BLOCK))
        waiting = [rows[whole:]]
