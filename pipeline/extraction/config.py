"""Settings of extraction, and their values for each data set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.corpus import DEMO
from pipeline.engine.settings import changed, check

ROW_VERSION = 2  # of the store's rows: raised when the same pixels give other numbers
RANDOM = "random"  # the backbone that needs none


@dataclass(frozen=True)
class ExtractConfig:
    """All that decides a row of the store, beside the picture and the box."""

    backbone: str = "resnet50"  # any torchvision ResNet
    weights: str = "IMAGENET1K_V1"  # torchvision's name, a file, or "random"
    seed: int = 0  # of random weights
    grid: int = 2  # side of a pooled map
    pooling: str = "floor"  # the published code's, or "adaptive"
    resize: str = "center"  # the published code's, or the paper's "stretch"
    size: int = 224  # side of the backbone's input, pixels
    # Of the forward pass, or "bfloat16"; rows are float16. Stages take what the device does well if
    # people don't say.
    precision: str = "float32"

    def __post_init__(self) -> None:
        check("--grid", "1 or more", self.grid, self.grid > 0)
        check("--size", "1 or more", self.size, self.size > 0)


@dataclass(frozen=True)
class PictureFiles:
    """Where training finds the pictures' side: pyramids, and what they were computed from."""

    extraction: Path  # ExtractPyramid's output
    grounding: Path  # GroundCrops's output
    pyramids: Path  # the store's folder of rows
    root: Path  # the data root
    config: ExtractConfig


def extract_preset(dataset: str) -> ExtractConfig:
    """The values of a data set, before people change any; the demo needs no download."""
    return (
        ExtractConfig(backbone="resnet18", weights=RANDOM) if dataset == DEMO else ExtractConfig()
    )


def extract_config(dataset: str, values: Mapping[str, Any]) -> ExtractConfig:
    """A data set's extraction, with the values given. A setting without effect is left out."""
    config = changed(extract_preset(dataset), values)
    return config if config.weights == RANDOM else replace(config, seed=0)
