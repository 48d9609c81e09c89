"""The residual stem of the IMPALA agent."""

import torch
from torch import Tensor, nn

from srwm.ops import pooling


class ImpalaResNet(nn.Module):
    """Three stages of [3x3 convolution, 3x3 max-pool of stride 2, two residual blocks], ReLU; Espeholt et al. (2018).

    Images (N, in_channels, H, W) -> features (N, channels[-1] * h * w), channel-major, h = H halved once per stage, rounded up.

    Args:
        channels: channels of each stage.
        in_channels: channels of the images.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 32), in_channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        inputs = (in_channels, *channels[:-1])
        self.layers = nn.Sequential(*(_stage(c, d) for c, d in zip(inputs, channels, strict=True)), nn.ReLU(inplace=True))

    def num_features(self, height: int, width: int) -> int:
        """Number of features per image.

        Args:
            height: height of the images in pixels.
            width: width of the images in pixels.

        Returns:
            F.
        """
        for _ in self.channels:
            height, width = (height + 1) // 2, (width + 1) // 2
        return self.channels[-1] * height * width

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (N, in_channels, H, W).

        Returns:
            (N, F).
        """
        return torch.flatten(self.layers(images), 1)


def _stage(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        _MaxPool(),
        _Residual(channels),
        _Residual(channels),
    )


class _MaxPool(nn.Module):
    """3x3, stride 2, padded by 1. On a CPU a kernel of this package is used, about 3 times as fast as PyTorch's in bfloat16."""

    def forward(self, maps: Tensor) -> Tensor:
        return pooling.max_pool(maps)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y
