"""A ResNet that gives the maps of its four blocks (HVPNeT §3.2: C2…C5 of a ResNet-50)."""

import pickle
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from features.weights import WeightsError, fill, one_line, read_state

Blocks = tuple[Tensor, Tensor, Tensor, Tensor]


class Backbone(nn.Module):
    """A torchvision ResNet without pooling and classifier; its parameters keep their names.

    BatchNorm uses its running statistics always, also under `train()`. Departure: the published
    code leaves it in training mode, so that there a row depends on the batch that it came with.
    """

    channels: tuple[int, int, int, int]

    def __init__(self, resnet: models.ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1 = resnet.conv1, resnet.bn1
        self.relu, self.maxpool = resnet.relu, resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4
        width = 64 * resnet.layer1[0].expansion
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.eval()

    def forward(self, pixels: Tensor) -> Blocks:
        """`pixels`: (B, 3, S, S), normalised. Returns four (B, C_i, S / 4…32, S / 4…32)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        for norm in _norms(self):
            norm.eval()
        return self


def load_backbone(name: str, weights: str, seed: int) -> Backbone:
    """The ResNet `name` in eval mode; torch's global random state stays as it was.

    `weights`: a torchvision name ("IMAGENET1K_V1", …, "DEFAULT"), downloaded once; a file (.pth
    or .safetensors, torchvision's keys); or "random", which depends on `seed` alone. Raises
    WeightsError.
    """
    _check_name(name)
    published = models.get_model_weights(name).__members__
    path = Path(weights)
    if weights != "random" and weights not in published and not path.is_file():
        choices = ", ".join([*published, "random"])
        raise WeightsError(f"weights {weights!r}: no such file, and none of {choices}")
    state = None
    if weights in published:
        state = _download(published[weights])
    elif weights != "random":
        state = read_state(path)
    with torch.random.fork_rng(devices=[]):  # building draws from the global generator
        torch.default_generator.manual_seed(seed)
        backbone = Backbone(models.get_model(name, weights=None))
    if state is None:
        _calibrate(backbone, seed)
    else:
        fill(backbone, _own(state), source=f"{name} from {weights}")
    return backbone


def block_channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the ResNet's four blocks; no weights are made. Raises WeightsError."""
    _check_name(name)
    with torch.device("meta"):
        return Backbone(models.get_model(name, weights=None)).channels


def _check_name(name: str) -> None:
    names = models.list_models(module=models, include=["resnet*", "resnext*", "wide_resnet*"])
    if name not in names:
        raise WeightsError(f"no backbone {name!r}; choose one of {', '.join(names)}")


def _norms(backbone: Backbone) -> Iterable[nn.BatchNorm2d]:
    return (module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))


def _download(weights: models.WeightsEnum) -> dict[str, Tensor]:
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        file = weights.url.rsplit("/", 1)[-1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"{file} can't be loaded ({one_line(error)}): fetch {weights.url} into {folder}, "
            "or give --weights FILE or --weights random"
        ) from error


def _own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state without its classifier and the prefixes of wrappers."""
    given = {_bare(key): value for key, value in state.items()}
    return {key: value for key, value in given.items() if not key.startswith("fc.")}


def _bare(key: str) -> str:
    while key.startswith(("module.", "backbone.")):
        key = key.split(".", 1)[1]
    return key


@torch.no_grad()
def _calibrate(backbone: Backbone, seed: int) -> None:
    """Make random weights give maps of order one, which they don't by themselves.

    BatchNorm's running statistics, else 0 and 1, are set from one batch of colour patterns: sums of
    smooth random fields of about unit variance. And each residual branch is weighted by one over
    the root of its block's length, so that neither the maps nor what a picture differs from the
    patterns grows along the deep ResNets (a ResNet-152's maps reach the hundreds without).
    """
    for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for unit in layer:
            last = unit.bn3 if hasattr(unit, "bn3") else unit.bn2
            last.weight.fill_(len(layer) ** -0.5)
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.zeros(16, 3, 128, 128)
    for cells, strength in ((3, 0.8), (12, 0.5), (48, 0.4), (128, 0.4)):
        field = torch.randn(16, 3, cells, cells, generator=draw)
        pixels += strength * functional.interpolate(field, size=128, mode="bicubic")
    for norm in _norms(backbone):
        norm.reset_running_stats()
        norm.momentum = None  # the mean over the batches seen: here, this one batch's values
        nn.Module.train(norm)
    backbone(pixels)
    for norm in _norms(backbone):
        norm.momentum = 0.1
        norm.eval()
