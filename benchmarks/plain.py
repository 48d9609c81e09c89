"""Stems of this package as PyTorch alone has them."""

from torch import nn

from srwm.vision import ImpalaResNet


def use_pytorchs_pools(stem: ImpalaResNet) -> None:
    """Put PyTorch's max-pools in the place of this package's."""
    *stages, _ = stem.layers
    for stage in stages:
        assert isinstance(stage, nn.Sequential)
        stage[1] = nn.MaxPool2d(3, stride=2, padding=1)
