"""The four-layer convolutional stem of the few-shot literature."""

import torch
from torch import Tensor, nn

from srwm.ops import pooling


class Conv4(nn.Module):
    """Four times [3x3 convolution, BatchNorm, 2x2 max-pool, dropout, ReLU]; Vinyals et al. (2016).

    Images (N, in_channels, H, W) -> features (N, C * (H // 16) * (W // 16)) with C channels of the last one, channel-major.

    Args:
        channels: channels of each convolution, or of all four: the later ones are cheap, since their images are small.
        in_channels: channels of the images.
        dropout: probability of dropout in each of the four stages.
    """

    def __init__(self, channels: int | tuple[int, int, int, int] = 64, in_channels: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.channels = 4 * (channels,) if isinstance(channels, int) else channels
        inputs = (in_channels, *self.channels[:-1])
        self.layers = nn.Sequential(*(_stage(c, d, dropout) for c, d in zip(inputs, self.channels, strict=True)))

    def num_features(self, height: int, width: int) -> int:
        """Number of features per image.

        Args:
            height: height of the images in pixels.
            width: width of the images in pixels.

        Returns:
            F.
        """
        return self.channels[-1] * (height // 16) * (width // 16)

    def forward(self, images: Tensor) -> Tensor:
        """Features of images. In training, BatchNorm uses the statistics of the batch.

        Args:
            images: (N, in_channels, H, W).

        Returns:
            (N, F).
        """
        return torch.flatten(self.layers(images), 1)


class _Stage(nn.Sequential):
    """Convolution, BatchNorm, pool, dropout, ReLU. In training on a CPU one fused operation computes the last four.

    It is used only if the modules are those of Conv-4 and have no hooks.
    """

    def forward(self, images: Tensor) -> Tensor:
        convolution, *rest = self
        y: Tensor = convolution(images)
        norm, pool, dropout, rectify = rest if len(rest) == 4 else 4 * [None]
        if (
            type(norm) is nn.BatchNorm2d
            and norm.training
            and norm.affine
            and type(pool) is nn.MaxPool2d
            and (pool.kernel_size, pool.stride, pool.padding, pool.dilation) == (2, 2, 0, 1)
            and not pool.ceil_mode
            and not pool.return_indices
            and type(dropout) is nn.Dropout
            and dropout.training
            and type(rectify) is nn.ReLU
            and not any(map(_has_hooks, rest))
        ):
            return _norm_pool(y, norm, dropout.p)
        for part in rest:
            y = part(y)
        return y


def _has_hooks(part: nn.Module) -> bool:
    return any((part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks))


def _stage(in_channels: int, channels: int, dropout: float) -> _Stage:
    return _Stage(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.ReLU(),
    )


def _norm_pool(maps: Tensor, norm: nn.BatchNorm2d, dropout: float) -> Tensor:
    mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    share = norm.momentum
    if norm.track_running_stats and batches is not None:
        batches.add_(1)
        share = 1 / int(batches) if share is None else share
    else:
        mean = variance = None
    share = 0.0 if share is None else share
    return pooling.norm_pool(maps, norm.weight, norm.bias, mean, variance, momentum=share, eps=norm.eps, dropout=dropout)
