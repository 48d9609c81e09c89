"""Images and their splits as arrays, independent of models."""

from srwm.data.images import ImageClasses, Split, with_rotations
from srwm.errors import UserError

__all__ = ["ImageClasses", "Split", "UserError", "with_rotations"]
