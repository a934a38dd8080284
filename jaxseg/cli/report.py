"""`jaxseg report`."""

from collections.abc import Sequence
from pathlib import Path

from jaxseg.cli import flags
from jaxseg.errors import UserError


def report(argv: Sequence[str]) -> None:
    """Show a run on one page: scores, curves, confusion, and its best, median and worst images.

    jaxseg report --workdir DIR [--split val] [--step best|latest|N] [--images 24] [--out FILE]

      --workdir DIR            a folder that `jaxseg train` made, finished or not
      --split SPLIT            val (default), train, or any TFDS split such as test
      --step STEP              best (by config.best_metric, the default), latest or a number
      --images N               how many images to show at most; 0 computes nothing
      --out FILE               the page, DIR/report.html unless it is given
      --data_dir DIR           where prepared data sets live, before TFDS_DATA_DIR

    The page is one HTML file that loads nothing. Every image of the split is predicted, to find
    the best and the worst.

    Example:
      jaxseg report --workdir runs/quickstart
    """
    values = flags.define()
    flags.string(values, "workdir", "data_dir", "out", split="val", step="best", images="24")
    flags.no_rest("report", flags.parse(values, "report", argv))
    workdir = Path(flags.required(values, "report", "workdir"))
    if not (images := values["images"].value).isdecimal():
        raise UserError(f"--images={images}, expected how many images to show, 0 or more")
    out = Path(values["out"].value or workdir / "report.html")
    if workdir.is_dir() and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    flags.set_up()
    from jaxseg import files, hosts
    from jaxseg.report.run import run_page

    page = run_page(
        workdir,
        split=values["split"].value,
        step=values["step"].value,
        images=int(images),
        data_dir=values["data_dir"].value or "",
        announce=hosts.announce,
    )
    files.write_text(out, page)
    print(f"written: {out} ({len(page.encode()) / 1e6:.1f} MB)")
