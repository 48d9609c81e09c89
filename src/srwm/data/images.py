"""Labeled images in memory, the common format of all data sets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class ImageClasses:
    """Images sorted by class; classes may have different numbers of images.

    Args:
        name: the name of the data set and split, as results show it.
        images: (I, C, H, W) uint8.
        offsets: (classes + 1,) int64; class c owns images[offsets[c]:offsets[c + 1]].
        class_names: one name per class.
        normalization: (2, C) float32, mean and deviation of each channel in [0, 1], which models subtract and divide by; None:
            models see images divided by 255.

    Raises:
        ValueError: these do not fit together.
    """

    name: str
    images: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]
    normalization: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images: expected (I, C, H, W) uint8, got {self.images.shape} {self.images.dtype}")
        if self.offsets.shape != (len(self.class_names) + 1,):
            raise ValueError(f"offsets: expected ({len(self.class_names) + 1},), got {self.offsets.shape}")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.images) or (np.diff(self.offsets) < 1).any():
            raise ValueError(f"offsets: expected to rise from 0 to {len(self.images)}, at least one image a class")
        if self.normalization is not None and self.normalization.shape != (2, self.images.shape[1]):
            raise ValueError(f"normalization: expected (2, {self.images.shape[1]}), got {self.normalization.shape}")

    def __repr__(self) -> str:
        name, shape = type(self).__name__, "x".join(map(str, self.image_shape))
        normalized = "" if self.normalization is None else ", normalized"
        return f"{name}({self.name!r}: {len(self)} classes, {len(self.images)} images of {shape}{normalized})"

    @classmethod
    def from_groups(cls, name: str, groups: Sequence[NDArray[np.uint8]], class_names: Sequence[str]) -> "ImageClasses":
        """Build from one array per class.

        Args:
            name: the name of the data set and split.
            groups: (instances, C, H, W) uint8 for each class.
            class_names: one name per class.

        Returns:
            The data set.
        """
        offsets = np.cumsum([0, *(len(group) for group in groups)], dtype=np.int64)
        return cls(name, np.concatenate(groups), offsets, tuple(class_names))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images per class, (classes,)."""
        return np.diff(self.offsets)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def of_class(self, index: int) -> NDArray[np.uint8]:
        """The images of one class, (instances, C, H, W), a view.

        Args:
            index: the index of the class.

        Returns:
            The images, uint8.
        """
        return self.images[self.offsets[index] : self.offsets[index + 1]]

    def select(self, classes: Sequence[int], name: str) -> "ImageClasses":
        """The given classes, in the given order.

        Args:
            classes: indices of the classes.
            name: the name of the result.

        Returns:
            The data set.
        """
        return ImageClasses.from_groups(name, [self.of_class(c) for c in classes], [self.class_names[c] for c in classes])


def with_rotations(data: ImageClasses) -> ImageClasses:
    """Every class four times: unchanged, and rotated counter-clockwise by 90, 180 and 270 degrees as separate classes.

    Args:
        data: the classes.

    Returns:
        Four times as many classes.
    """
    count = len(data.images)
    rotated = np.concatenate([np.rot90(data.images, turn, axes=(2, 3)) for turn in range(4)])
    offsets = np.concatenate([data.offsets[:-1] + turn * count for turn in range(4)] + [np.array([4 * count])])
    names = tuple(f"{name}@{90 * turn}" for turn in range(4) for name in data.class_names)
    return ImageClasses(data.name, rotated, offsets, names)


def check_apart(root: Path, splits: Mapping[Split, Iterable[str]]) -> None:
    """Check that no class is in two splits: test classes must be unseen in training.

    Args:
        root: the folder of the data, for the message.
        splits: the class names of each split.

    Raises:
        UserError: a class is in two splits.
    """
    seen = [name for names in splits.values() for name in names]
    if len(set(seen)) < len(seen):
        raise UserError(
            f"{root}: class {max(seen, key=seen.count)} is in two splits; a test is of classes that did not train: put each "
            f"into one of {', '.join(SPLITS)}"
        )
