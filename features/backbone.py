"""A ResNet that returns the maps of its four blocks (HVPNeT §3.2: C2…C5 of a ResNet-50)."""

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

    BatchNorm always uses its running statistics, also under `train()`. Departure: the published
    code leaves it in training mode, so that a picture's maps depend on the rest of its batch.
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
        """Map pixels (B, 3, S, S), normalised, to four blocks (B, C_i, S / 4…32, S / 4…32)."""
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
    """Load a ResNet in eval mode; torch's global random state stays as it was.

    name: of a torchvision ResNet, such as "resnet50".
    weights: a torchvision name ("IMAGENET1K_V1", …, "DEFAULT"), downloaded once; a file (.pth or
        .safetensors, with torchvision's keys); or "random".
    seed: for random weights.

    Raises WeightsError.
    """
    _check_name(name)
    published = models.get_model_weights(name).__members__
    path = Path(weights)
    if weights != "random" and weights not in published and not path.is_file():
        choices = ", ".join([*published, "random"])
        raise WeightsError(f"weights {weights!r}: no such file, and not one of {choices}")
    state = None
    if weights in published:
        state = _download(published[weights])
    elif weights != "random":
        state = read_state(path)
    with torch.random.fork_rng(devices=[]):  # the constructor draws from the global generator
        torch.default_generator.manual_seed(seed)
        backbone = Backbone(models.get_model(name, weights=None))
    if state is None:
        _calibrate(backbone, seed)
    else:
        fill(backbone, _without_classifier(state), source=f"{name} from {weights}")
    return backbone


def block_channels(name: str) -> tuple[int, int, int, int]:
    """Return the channels of a ResNet's four blocks; allocates no weights. Raises WeightsError."""
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
            "or give the file with --weights (hvpnet: --backbone)"
        ) from error


def _without_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the classifier, and from keys the prefixes of wrappers (`module.`, `backbone.`)."""
    weights = {_bare(key): value for key, value in state.items()}
    return {key: value for key, value in weights.items() if not key.startswith("fc.")}


def _bare(key: str) -> str:
    while key.startswith(("module.", "backbone.")):
        key = key.split(".", 1)[1]
    return key


@torch.no_grad()
def _calibrate(backbone: Backbone, seed: int) -> None:
    """Scale random weights so that the maps are of order one.

    Set BatchNorm's running statistics from a batch of colour patterns: sums of smooth random fields
    of about unit variance. Scale each residual branch by 1/√n (n units in its block) so that
    activations don't grow with depth: a ResNet-152's maps would otherwise reach the hundreds.
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
        norm.momentum = None  # average over all batches: here, the statistics of this batch
        nn.Module.train(norm)
    backbone(pixels)
    for norm in _norms(backbone):
        norm.momentum = 0.1
        norm.eval()
