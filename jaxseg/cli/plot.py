"""`jaxseg plot`."""

from collections.abc import Sequence
from pathlib import Path

from jaxseg.cli import flags
from jaxseg.errors import UserError

SUFFIXES = (".png", ".svg", ".pdf")


def plot(argv: Sequence[str]) -> None:
    """Draw the curves of one or several runs: loss, mIoU, and the IoU of every class.

    jaxseg plot DIR... [--out FILE] [--classes NAME,...]

      DIR...                   folders that `jaxseg train` made, finished or not; files among
                               them, such as a sweep's seed0.log, are passed over
      --out FILE               a .png, .svg or .pdf; DIR/curves.png unless it is given, and
                               curves.png in the current folder for several runs
      --classes NAME,...       the classes to draw, all unless they are given

    Training's loss is drawn as it was logged (thin, up to four runs) and smoothed; validation's is
    that of the whole split. Several runs have one colour each.

    Example:
      jaxseg plot runs/skips/all/seed* runs/skips/none/seed* --out curves.svg
    """
    values = flags.define()
    flags.string(values, "out", "classes")
    paths = [Path(word) for word in flags.parse(values, "plot", argv)]
    workdirs = [path for path in paths if not path.is_file()]
    if not workdirs:
        raise UserError("plot needs the folder of a run; `jaxseg plot --help` shows an example")
    here = Path("curves.png")
    out = Path(values["out"].value or (workdirs[0] / here if len(workdirs) == 1 else here))
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: expected a name that ends with {', '.join(SUFFIXES)}")
    if workdirs[0].is_dir() and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    flags.quiet()
    from jaxseg import files
    from jaxseg.report import curves, figure

    names = [name.strip() for name in (values["classes"].value or "").split(",")]
    drawn = figure.draw(curves.read(workdirs), [name for name in names if name])
    with files.replacing(out) as partial:
        figure.save(drawn, partial)
    print(f"written: {out}")
