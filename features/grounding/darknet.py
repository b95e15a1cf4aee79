"""YOLOv3's convolutional network, and its weight files.

Redmon and Farhadi 2018 (arXiv 1804.02767), with the layer numbers of the published configuration:
Darknet-53 is 0 to 74, the three detection branches follow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.errors import need_readable
from features.weights import WeightsError

OUTPUTS = (78, 90, 102)  # the layers that a grounding head reads: strides 32, 16, 8
CHANNELS = (1024, 512, 256)
_UNREAD = {80, 81, 92, 93}  # convolutions that only detection needs
_CLASSES = 80


@dataclass(frozen=True)
class Conv:
    """A convolution with BatchNorm and leaky ReLU; norm=False: with a bias instead of both."""

    filters: int
    kernel: int
    stride: int = 1
    norm: bool = True


@dataclass(frozen=True)
class Shortcut:
    """Add the output of the layer before, and of the third layer before."""


@dataclass(frozen=True)
class Join:
    """Concatenate the channels of the layers with these numbers."""

    layers: tuple[int, ...]


@dataclass(frozen=True)
class Upsample:
    """Double both sides of the map: each cell becomes 2 × 2."""


@dataclass(frozen=True)
class Detection:
    """YOLO's output layer. Computes nothing here."""


Layer = Conv | Shortcut | Join | Upsample | Detection


def _layers() -> Iterator[Layer]:
    yield Conv(32, 3)
    for filters, repeats in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        yield Conv(filters, 3, stride=2)
        for _ in range(repeats):
            yield from (Conv(filters // 2, 1), Conv(filters, 3), Shortcut())
    yield from _branch(512)
    yield from (Join((79,)), Conv(256, 1), Upsample(), Join((85, 61)))
    yield from _branch(256)
    yield from (Join((91,)), Conv(128, 1), Upsample(), Join((97, 36)))
    yield from _branch(128)


def _branch(filters: int) -> Iterator[Layer]:
    for _ in range(3):
        yield from (Conv(filters, 1), Conv(2 * filters, 3))
    yield from (Conv(3 * (5 + _CLASSES), 1, norm=False), Detection())


LAYERS = tuple(_layers())


class Darknet(nn.Module):
    """YOLOv3's network; its parameters have the names of the published grounding checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        widths: list[int] = []
        modules = []
        for number, layer in enumerate(LAYERS):
            before = widths[-1] if widths else 3
            width = before
            module = nn.Sequential()
            if isinstance(layer, Conv):
                module, width = _conv(number, before, layer), layer.filters
            elif isinstance(layer, Join):
                width = sum(widths[n] for n in layer.layers)
            modules.append(module)
            widths.append(width)
        self.module_list = nn.ModuleList(modules)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Map pixels (B, 3, S, S) to three maps: 1024, 512, 256 channels, side S/32, S/16, S/8."""
        outputs: list[Tensor] = []
        x = pixels
        for number, layer in enumerate(LAYERS[: OUTPUTS[-1] + 1]):
            match layer:
                case Conv() if number not in _UNREAD:
                    x = self.module_list[number](x)
                case Shortcut():
                    x = x + outputs[-3]
                case Join(layers):
                    x = torch.cat([outputs[n] for n in layers], dim=1)
                case Upsample():
                    x = functional.interpolate(x, scale_factor=2, mode="nearest")
            outputs.append(x)
        return [outputs[number] for number in OUTPUTS]


def _conv(number: int, width: int, layer: Conv) -> nn.Sequential:
    conv = nn.Conv2d(
        width,
        layer.filters,
        layer.kernel,
        layer.stride,
        padding=(layer.kernel - 1) // 2,
        bias=not layer.norm,
    )
    module = nn.Sequential()
    module.add_module(f"conv_{number}", conv)
    if layer.norm:
        module.add_module(f"batch_norm_{number}", nn.BatchNorm2d(layer.filters))
        module.add_module(f"leaky_{number}", nn.LeakyReLU(0.1))
    return module


def load_darknet(network: Darknet, path: Path) -> None:
    """Load a darknet file, such as yolov3.weights, into the network.

    The file's header is three int32 (version major, minor, revision) and the number of pictures
    seen: 8 bytes from version 0.2 on, else 4. Float32 numbers follow, for each convolution: bias,
    weight, mean and variance of its BatchNorm, or its bias if it has none; then its weights. Raises
    WeightsError.
    """
    numbers = _read_numbers(path, count=sum(tensor.numel() for tensor in _in_order(network)))
    start = 0
    with torch.no_grad():
        for tensor in _in_order(network):
            part = numbers[start : start + tensor.numel()]
            tensor.copy_(torch.from_numpy(part).view_as(tensor))
            start += tensor.numel()


def _in_order(network: Darknet) -> Iterator[Tensor]:
    """Yield the network's tensors in the order of a darknet file."""
    for number, layer in enumerate(LAYERS):
        if not isinstance(layer, Conv):
            continue
        conv = network.get_submodule(f"module_list.{number}.conv_{number}")
        assert isinstance(conv, nn.Conv2d)
        if conv.bias is not None:
            yield conv.bias
        else:
            norm = network.get_submodule(f"module_list.{number}.batch_norm_{number}")
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            yield from (norm.bias, norm.weight, norm.running_mean, norm.running_var)
        yield conv.weight


def _read_numbers(path: Path, count: int) -> np.ndarray:
    """Read the float32 numbers of a darknet file. count: that the network needs."""
    need_readable(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: can't be read: {error.strerror}") from error
    major, minor = np.frombuffer(content[:8].ljust(8, b"\0"), "<i4").tolist()
    header = 20 if major * 10 + minor >= 2 else 16
    actual = (len(content) - header) / 4
    if actual != count:
        raise WeightsError(
            f"{path}: expected the {count:,} numbers of YOLOv3 after a header of {header} bytes, "
            f"found {max(actual, 0):,.2f}".removesuffix(".00")
        )
    return np.frombuffer(content, "<f4", offset=header).copy()
