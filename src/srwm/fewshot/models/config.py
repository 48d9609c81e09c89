"""The configuration of a few-shot model."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from srwm.nn import StackConfig
from srwm.ranges import AtLeast, Between
from srwm.vision import DropoutType


@dataclass(frozen=True)
class ModelConfig:
    """A few-shot model: stem, input and what learns."""

    image_shape: tuple[Annotated[int, AtLeast(1)], ...] = (1, 28, 28)
    """Shape of one image, (C, H, W); any shape where there is no stem."""

    n_way: Annotated[int, AtLeast(2)] = 5
    """Number of classes in an episode."""

    stem: Literal["conv4", "resnet12", "none"] = "conv4"
    """What embeds an image; `none` takes its pixels as features."""

    stem_channels: Annotated[int | tuple[int, int, int, int], AtLeast(1)] = 64
    """Channels of Conv-4, or of the four blocks of ResNet-12."""

    stem_dropout: Annotated[float, Between(0, 1)] = 0.0
    """Dropout in the stem."""

    stem_dropout_type: DropoutType = "base"
    """Where ResNet-12 drops, and whether numbers or whole channels."""

    input: Literal["paper", "balanced"] = "balanced"
    """Features and one-hot label concatenated, as in the paper, or normalized features plus a label embedding."""

    input_projection: bool = True
    """Whether the paper's input is projected to d_model; the paper's LSTM reads it as it is."""

    stack: StackConfig = field(default_factory=StackConfig)
    """The memory."""

    head: Literal["memory", "prototypes"] = "memory"
    """What learns from the examples: input and stack, or the class means of a prototypical network, which has neither."""
