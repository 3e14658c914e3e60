"""Features of an image at an eighth and a quarter of its size (GMFlow, Xu et al., CVPR 2022, section 3.1 and 3.5)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = 128


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance normalisation, and a shortcut (1x1 where size or channels change)."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False)
        # the normalisation has no parameters; a list of two keeps the published parameter names
        self.downsample = (nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride), nn.InstanceNorm2d(num_out))
                           if stride > 1 or num_in != num_out else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [B, num_in, H, W] -> [B, num_out, H / stride, W / stride]
        y = F.relu(F.instance_norm(self.conv1(x)))
        y = F.relu(F.instance_norm(self.conv2(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Backbone(nn.Module):
    """[B, 3, H, W] normalised RGB to features [B, 128, H/8, W/8] and [B, 128, H/4, W/4]; H, W multiples of 8.

    The last convolution is one set of weights, used with stride 1 and with stride 2 ("trident").
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1), ResidualBlock(64, 64, 1))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, 2), ResidualBlock(96, 96, 1))
        self.layer3 = nn.Sequential(ResidualBlock(96, CHANNELS, 1), ResidualBlock(CHANNELS, CHANNELS, 1))
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.trident_conv = nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1, bias=False)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(F.instance_norm(self.conv1(image)))
        x = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        weight = self.trident_conv.weight
        return F.conv2d(x, weight, stride=2, padding=1), F.conv2d(x, weight, padding=1)
