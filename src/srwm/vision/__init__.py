"""Image stems: images (N, C, H, W) -> features (N, F)."""

from srwm.vision.conv4 import Conv4
from srwm.vision.impala import ImpalaResNet
from srwm.vision.resnet12 import DropoutType, ResNet12

__all__ = ["Conv4", "DropoutType", "ImpalaResNet", "ResNet12"]
