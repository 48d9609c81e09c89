"""The four-layer convolutional stem of the few-shot literature."""

import torch
from torch import Tensor, nn

from srwm.ops.native import norm_pool


class Conv4(nn.Module):
    """Four times [3x3 convolution, BatchNorm, 2x2 max-pool, dropout, ReLU]; Vinyals et al. (2016).

    Images (N, in_channels, H, W) -> features (N, channels * (H // 16) * (W // 16)), channel-major.
    """

    def __init__(self, channels: int = 64, in_channels: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(
            *(_Stage(in_channels if i == 0 else channels, channels, dropout) for i in range(4)),
        )

    def num_features(self, height: int, width: int) -> int:
        """Number of features of an image of this size."""
        return self.channels * (height // 16) * (width // 16)

    def forward(self, images: Tensor) -> Tensor:
        """Embed each image by itself (in training, BatchNorm looks at all of them)."""
        return torch.flatten(self.layers(images), 1)


class _Stage(nn.Sequential):
    """One of the four. In training on a CPU what follows the convolution is one operation, in a quarter of the time of four."""

    def __init__(self, in_channels: int, channels: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        convolution, norm, pool, dropout, rectify = self
        maps = convolution(images)
        assert isinstance(dropout, nn.Dropout)
        if (
            type(norm) is nn.BatchNorm2d
            and norm.training
            and dropout.training
            and norm_pool.available(maps, norm.weight, dropout.p)
        ):
            return _norm_pool(maps, norm, dropout.p)
        y: Tensor = rectify(dropout(pool(norm(maps))))
        return y


def _norm_pool(maps: Tensor, norm: nn.BatchNorm2d, dropout: float) -> Tensor:
    y, mean, variance = norm_pool.norm_pool(maps, norm.weight, norm.bias, norm.eps, dropout)
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            count = maps.numel() // maps.shape[1]
            norm.num_batches_tracked += 1
            share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * count / (count - 1), share)
    return y
