"""Data sets whose channels have mean 0 and deviation 1 as models see them."""

import dataclasses

import numpy as np

from srwm.data.images import ImageClasses, Split

_AT_ONCE = 1024


def normalized(splits: dict[Split, ImageClasses]) -> dict[Split, ImageClasses]:
    """The same images; every split gets the mean and deviation of each channel over the training images.

    Args:
        splits: the data set.

    Returns:
        The data set with `normalization` (2, C). A constant channel keeps its scale.
    """
    train = splits["train"].images
    count = train.size // train.shape[1]
    total = np.zeros((2, train.shape[1]))
    for start in range(0, len(train), _AT_ONCE):
        block = train[start : start + _AT_ONCE].astype(np.float32)
        total += [block.sum((0, 2, 3), dtype=np.float64), np.square(block).sum((0, 2, 3), dtype=np.float64)]
    mean = total[0] / count
    deviation = np.sqrt(np.maximum(total[1] / count - mean**2, 0))
    statistics = (np.stack([mean, np.where(deviation > 0, deviation, 255)]) / 255).astype(np.float32)
    return {split: dataclasses.replace(data, normalization=statistics) for split, data in splits.items()}
