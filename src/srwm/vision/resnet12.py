"""The twelve-layer residual stem of the few-shot literature."""

from typing import Literal, get_args

from torch import Tensor, nn

DropoutType = Literal["base", "in_block", "2d", "2d_in_block"]


class ResNet12(nn.Module):
    """Four residual blocks of three 3x3 convolutions, each block ending in a 2x2 max-pool; then the mean over space.

    Images (N, in_channels, H, W), H and W at least 16, -> features (N, channels[3]).

    Args:
        channels: channels of the four blocks; common choices are (64, 96, 128, 256) and (64, 128, 256, 512).
        in_channels: channels of the images.
        dropout: probability of dropout.
        dropout_type: `base` drops once, at the end of a block, `in_block` also after its first two activations; `2d` and
            `2d_in_block` drop whole channels at the same places.

    Raises:
        ValueError: the dropout type is unknown.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int] = (64, 96, 128, 256),
        in_channels: int = 3,
        dropout: float = 0.0,
        dropout_type: DropoutType = "base",
    ) -> None:
        super().__init__()
        if dropout_type not in get_args(DropoutType):
            raise ValueError(f"dropout_type: expected one of {', '.join(get_args(DropoutType))}, got {dropout_type!r}")
        self.channels = channels
        inputs = (in_channels, *channels[:-1])
        self.layers = nn.Sequential(*(_Block(c, d, dropout, dropout_type) for c, d in zip(inputs, channels, strict=True)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")

    def num_features(self, height: int, width: int) -> int:
        """Number of features per image, which does not depend on its size.

        Args:
            height: height of the images in pixels.
            width: width of the images in pixels.

        Returns:
            F.
        """
        return self.channels[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Features of images. In training, BatchNorm uses the statistics of the batch.

        Args:
            images: (N, in_channels, H, W).

        Returns:
            (N, F).
        """
        maps: Tensor = self.layers(images)
        return maps.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, in_channels: int, channels: int, dropout: float, dropout_type: DropoutType) -> None:
        super().__init__()
        drop = nn.Dropout2d if dropout_type.startswith("2d") else nn.Dropout
        within = dropout if dropout_type.endswith("in_block") else 0.0
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.activation = nn.LeakyReLU(0.1)
        self.drop_within = drop(within)
        self.pool = nn.MaxPool2d(2)
        self.drop_after = drop(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop_within(self.activation(self.bn1(self.conv1(x))))
        y = self.drop_within(self.activation(self.bn2(self.conv2(y))))
        y = self.activation(self.bn3(self.conv3(y)) + self.downsample(x))
        pooled: Tensor = self.drop_after(self.pool(y))
        return pooled
