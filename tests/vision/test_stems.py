"""Stems: shapes, parameters, and where dropout acts."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from srwm.vision import Conv4, ImpalaResNet, ResNet12


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("channels", "in_channels", "size", "features"),
    [(64, 1, (28, 28), 64), (32, 3, (84, 84), 800), (32, 3, (32, 32), 128), (8, 3, (40, 70), 64)],
)
def test_conv4_features(channels: int, in_channels: int, size: tuple[int, int], features: int) -> None:
    stem = Conv4(channels, in_channels)
    assert stem(torch.randn(2, in_channels, *size)).shape == (2, features)
    assert stem.num_features(*size) == features


@pytest.mark.parametrize(
    ("channels", "size", "features"), [((16, 32, 32), (64, 64), 2048), ((16, 32), (9, 7), 192), ((6, 10), (5, 12), 60)]
)
def test_impala_features(channels: tuple[int, ...], size: tuple[int, int], features: int) -> None:
    """Channels that the kernels take, and others."""
    stem = ImpalaResNet(channels)
    assert stem(torch.randn(2, 3, *size)).shape == (2, features)
    assert stem.num_features(*size) == features


def test_conv4_stage_is_conv_norm_pool_relu() -> None:
    stem = Conv4(4, 1).eval()
    images = torch.randn(2, 1, 20, 20)
    x = images
    for conv, norm, *_ in stem.layers:
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        x = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
        x = (x - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
        x = nn.functional.max_pool2d(x, 2).relu()
    assert_close(stem(images), x.reshape(2, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stem", "parameters"), [(Conv4(64, 1), 111_936), (Conv4(32, 3), 28_896)])
def test_conv4_parameters(stem: Conv4, parameters: int) -> None:
    assert sum(p.numel() for p in stem.parameters()) == parameters


@pytest.mark.parametrize("channels", [(64, 96, 128, 256), (64, 128, 256, 512)])
def test_resnet12_parameters(channels: tuple[int, int, int, int]) -> None:
    stem = ResNet12(channels)
    assert stem.num_features(84, 84) == channels[-1]
    convolutions = sum(9 * c * (i + 2 * c) + i * c for i, c in zip((3, *channels[:-1]), channels, strict=True))
    assert sum(p.numel() for p in stem.parameters()) == convolutions + 8 * sum(channels)


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (84, 84)])
def test_resnet12_features_do_not_depend_on_the_size(size: tuple[int, int]) -> None:
    assert ResNet12((4, 6, 8, 10))(torch.randn(2, 3, *size)).shape == (2, 10)


@pytest.mark.parametrize("dropout_type", ["base", "in_block", "2d", "2d_in_block"])
def test_resnet12_dropout(dropout_type: str) -> None:
    stem = ResNet12((4, 6, 8, 10), dropout=0.5, dropout_type=dropout_type)
    plain = ResNet12((4, 6, 8, 10))
    plain.load_state_dict(stem.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert_close(stem.eval()(images), plain.eval()(images))

    seen: dict[str, torch.Tensor] = {}
    first = stem.layers[0].train()
    first.conv2.register_forward_pre_hook(lambda _, inputs: seen.update(within=inputs[0]))
    after = first(images)
    assert (seen["within"] == 0).any() == dropout_type.endswith("in_block")
    dropped = (after == 0).flatten(2)
    assert dropped.any()
    assert (dropped.all(2) == dropped.any(2)).all() == dropout_type.startswith("2d")


def test_resnet12_refuses_an_unknown_dropout_type() -> None:
    with pytest.raises(ValueError, match="dropout_type: expected one of base, in_block, 2d, 2d_in_block, got 'spatial'"):
        ResNet12(dropout_type="spatial")
