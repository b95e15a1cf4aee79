"""A ResNet for inference only: BatchNorm is folded into the convolutions.

In bfloat16 on a CPU a ResNet-50 spends about half of its time on the arithmetic of convolutions;
BatchNorm, ReLU and the residual sum take the other half, bound by memory. Folding removes the
BatchNorm. On a CPU, the fused kernels of torch.compile also apply ReLU and the residual sum before
they write their result.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from features.backbone import Backbone, Blocks


class Folded(nn.Module):
    """A backbone with frozen weights in `dtype`, channels-last.

    In float32 its maps differ from the backbone's by rounding, about 1e-5 of a map's largest value.
    """

    def __init__(self, backbone: Backbone, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.stem = _fold(backbone.conv1, backbone.bn1)
        self.maxpool = backbone.maxpool
        layers = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
        self.layers = nn.ModuleList(nn.Sequential(*map(_Unit, layer)) for layer in layers)
        self.to(dtype).to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    def forward(self, pixels: Tensor) -> Blocks:
        """Compute the four blocks as `Backbone.forward`. The maps have the weights' dtype."""
        dtype = self.stem.weight.dtype
        x = pixels.to(dtype, memory_format=torch.channels_last)
        x = self.maxpool(_convolve(self.stem, x, relu=True))
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        c2, c3, c4, c5 = maps
        return c2, c3, c4, c5


class _Unit(nn.Module):
    """A residual unit of two convolutions (ResNet-18, 34) or three."""

    def __init__(self, unit: nn.Module) -> None:
        super().__init__()
        parts: dict[str, Any] = dict(unit.named_children())
        count = 3 if "conv3" in parts else 2
        *inner, self.last = (_fold(parts[f"conv{n}"], parts[f"bn{n}"]) for n in range(1, count + 1))
        self.inner = nn.ModuleList(inner)
        shortcut = parts.get("downsample")
        self.shortcut = None if shortcut is None else _fold(shortcut[0], shortcut[1])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.inner:
            y = _convolve(conv, y, relu=True)
        shortcut = x if self.shortcut is None else _convolve(self.shortcut, x, relu=False)
        return _convolve_and_add(self.last, y, shortcut)


def _fold(conv: nn.Module, norm: nn.Module) -> Any:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


def _convolve(conv: Any, x: Tensor, relu: bool) -> Tensor:
    if _has_fused_kernels(x):
        activation = "relu" if relu else "none"
        return torch.ops.mkldnn._convolution_pointwise(x, *_arguments(conv), activation, [], "")
    y = conv(x)
    return functional.relu_(y) if relu else y


def _convolve_and_add(conv: Any, x: Tensor, shortcut: Tensor) -> Tensor:
    """Return relu(conv(x) + shortcut)."""
    if _has_fused_kernels(x):
        fused: tuple[Any, ...] = ("add", 1.0, "relu", [], "")
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, shortcut, *_arguments(conv), *fused
        )
    return functional.relu_(conv(x) + shortcut)


def _has_fused_kernels(x: Tensor) -> bool:
    if x.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return x.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _arguments(conv: Any) -> tuple[Any, ...]:
    return conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups
