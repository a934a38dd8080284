"""Memory of a process that reads one epoch after another: what a batch leaves behind shows there.

    python -m jaxseg.bench.data_memory FOLDER WORKERS EPOCHS

Prints JSON: the process's resident bytes at the end of each epoch of the images of FOLDER, read,
augmented and put on the device as in training.
"""

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path


def by_epoch(folder: Path, workers: int, epochs: int) -> list[int]:
    """Resident bytes at the end of each epoch, in a process of its own.

    Raises:
      RuntimeError: the process failed; the last line that it said.
    """
    from jaxseg.bench import memory

    words = ["-m", "jaxseg.bench.data_memory", str(folder), str(workers), str(epochs)]
    return json.loads(memory.launch(words)[0].splitlines()[-1])


def main(argv: Sequence[str]) -> None:
    from jaxseg import data, defaults, memory
    from jaxseg.bench import data_jaxseg

    folder, workers, epochs = Path(argv[0]), int(argv[1]), int(argv[2])
    config = defaults.get_config("unet")
    source = data.load(data_jaxseg.dataset_of(folder, config), "train")
    config.batch_size = min(config.batch_size, len(source))
    found = []
    with data_jaxseg.batches(source, config, workers) as batches:
        steps = data_jaxseg.placed(batches)
        for _ in range(epochs):
            for _ in itertools.islice(steps, len(source) // config.batch_size):
                pass
            found.append(memory.resident())
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
