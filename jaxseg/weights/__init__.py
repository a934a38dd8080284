"""Other people's weights: bytes -> entries by their own names -> our names -> a model's variables.

`files/` reads entries from any known format, `families/` renames those of a known network, and
`merge` replaces a model's fresh variables by them and accounts for every entry. Nothing here knows
of configs, runs or training: see `jaxseg/initial.py` and `jaxseg/pretrained.py`.
"""

from jaxseg.weights import families, files
from jaxseg.weights.imported import Imported


def load(source: str) -> Imported:
    """The weights of a file or of "hf://ORG/NAME[@REVISION][/FILE]".

    Raises:
      UserError: nothing there, not readable, or of no known family.
    """
    path, config = files.locate(source)
    return families.recognise(files.read(path), source, config)
