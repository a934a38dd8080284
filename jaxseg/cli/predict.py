"""`jaxseg predict`."""

from collections.abc import Sequence
from pathlib import Path

from jaxseg.cli import flags


def predict(argv: Sequence[str]) -> None:
    """Label every pixel of your own images, of any size and kind.

    jaxseg predict --workdir DIR --out OUT [--step best|latest|N] [--config.KEY=VALUE ...] PATH...

      --workdir DIR            a folder that `jaxseg train` made
      --out OUT                gets NAME.png (class indices, with a palette) and NAME_overlay.png
      --step STEP              best (by validation mIoU, the default), latest or a number
      --config.KEY=VALUE       predict with another value than the run's
      PATH...                  images, or folders of images

    Example:
      jaxseg predict --workdir runs/quickstart --out out photo.jpg folder/
    """
    values = flags.define()
    flags.string(values, "workdir", "out", step="best")
    argv, changes = flags.split_overrides(argv)
    paths = flags.parse(values, "predict", argv)
    workdir = Path(flags.required(values, "predict", "workdir"))
    out = Path(flags.required(values, "predict", "out"))
    from jaxseg import predict as prediction
    from jaxseg import runs

    files = prediction.find_images(paths, out)
    flags.set_up()
    run = runs.open_run(
        workdir,
        values["step"].value,
        changes=changes,
        command="predict",
        announce=flags.announce,
    )
    prediction.predict_files(run.program, run.config, run.state, run.classes, files, out)
    print(f"{len(files)} images: masks and overlays in {out}")
