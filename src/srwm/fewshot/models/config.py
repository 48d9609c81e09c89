"""The configuration of a few-shot model."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from srwm.nn import StackConfig
from srwm.ranges import AtLeast, Between
from srwm.vision import DropoutType

HeadName = Literal["memory", "prototypes", "residual"]


@dataclass(frozen=True)
class ModelConfig:
    """A few-shot model: image stem, input encoding and head."""

    image_shape: tuple[Annotated[int, AtLeast(1)], ...] = (1, 28, 28)
    """Shape of one image, (C, H, W); any shape where there is no stem."""

    n_way: Annotated[int, AtLeast(2)] = 5
    """Number of classes N in an episode."""

    stem: Literal["conv4", "resnet12", "none"] = "conv4"
    """Image stem; with `none` the pixels are the features."""

    stem_channels: Annotated[int | tuple[int, int, int, int], AtLeast(1)] = 64
    """Channels of Conv-4, one number or one for each convolution, or of the four blocks of ResNet-12."""

    stem_dropout: Annotated[float, Between(0, 1)] = 0.0
    """Dropout in the stem."""

    stem_dropout_type: DropoutType = "base"
    """Dropout of ResNet-12: at the end of each block (`base`) or also within (`in_block`), of values or of channels (`2d`)."""

    input: Literal["paper", "balanced", "codes"] = "balanced"
    """`paper`: features and one-hot label concatenated, then projected; `balanced`: normalized features plus a label embedding;
    `codes`: projected features beside a one-hot label, which keeps its own places"""

    input_projection: bool = True
    """Whether the `paper` input is projected to d_model; the paper's LSTM has no projection."""

    stack: StackConfig = field(default_factory=StackConfig)
    """The recurrent stack."""

    head: HeadName = "memory"
    """`memory`: the recurrent stack learns from examples; `prototypes`: class means, without input and stack; `residual`: class
    means plus the memory's logits, times a factor that begins at 0"""

    class_means: Literal["plain", "learned"] = "plain"
    """class means of `prototypes`: `plain`: of features as they are (Snell et al., 2017); `learned`: after LayerNorm and a
    learned map, with a learned scale, as always with `residual`"""
