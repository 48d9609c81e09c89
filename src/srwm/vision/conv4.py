"""The four-layer convolutional stem of the few-shot literature."""

import torch
from torch import Tensor, nn


class Conv4(nn.Module):
    """Four times [3x3 convolution, BatchNorm, 2x2 max-pool, dropout, ReLU]; Vinyals et al. (2016).

    Images (N, in_channels, H, W) -> features (N, channels * (H // 16) * (W // 16)), channel-major.
    """

    def __init__(self, channels: int = 64, in_channels: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            *(_stage(in_channels if i == 0 else channels, channels, dropout) for i in range(4)),
        )

    def num_features(self, height: int, width: int) -> int:
        """Number of features of an image of this size."""
        return self.channels * (height // 16) * (width // 16)

    def forward(self, images: Tensor) -> Tensor:
        """Embed each image by itself (in training, BatchNorm looks at all of them)."""
        return torch.flatten(self.layers(images), 1)


def _stage(in_channels: int, channels: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.ReLU(),
    )
