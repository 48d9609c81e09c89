"""Images and their splits as arrays, independent of models."""

from srwm.data.images import ImageClasses, Split, with_rotations

__all__ = ["ImageClasses", "Split", "with_rotations"]
