"""Batches for training and evaluation, read by threads; their number changes no batch.

A plain thread pool, not Grain: decoding and warping release Python's lock, so both are as fast
(CamVid's 480x360 JPEGs on two cores, medians: pool of two 176 images/s, Grain 0.2.18 with two
threads 170, four 168, two processes 163), and here the position is one integer that holds for any
number of workers, where Grain's restores only for the number it was saved with.
"""

import cv2

from jaxseg.data.pipeline.batch import Batch, BatchIterator
from jaxseg.data.pipeline.evaluation import eval_batches
from jaxseg.data.pipeline.planned import canvas_of
from jaxseg.data.pipeline.reading import (
    Skipped,
    UnreadableError,
    check_first,
    next_readable,
    read,
)
from jaxseg.data.pipeline.training import train_batches

__all__ = [
    "Batch",
    "BatchIterator",
    "Skipped",
    "UnreadableError",
    "canvas_of",
    "check_first",
    "eval_batches",
    "next_readable",
    "read",
    "train_batches",
]

# the threads are ours: with OpenCV's own on top they would fight for the same cores
cv2.setNumThreads(0)
