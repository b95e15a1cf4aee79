"""Settings of extraction, and their values for each data set."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.corpus import DEMO
from pipeline.engine.settings import changed, check

ROW_VERSION = 2  # of the store's rows; raise it when the same pixels give other numbers
RANDOM = "random"  # weights: a seeded random backbone, which needs no download


@dataclass(frozen=True)
class ExtractConfig:
    """The settings that decide a row of the store, given the picture and the box."""

    backbone: str = "resnet50"  # any torchvision ResNet
    weights: str = "IMAGENET1K_V1"  # torchvision's name, a file, or "random"
    seed: int = 0  # of random weights
    grid: int = 2  # side of a pooled map
    pooling: str = "floor"  # as in the published code; or "adaptive"
    resize: str = "center"  # as in the published code; or "stretch", as in the paper
    size: int = 224  # side of the backbone's input, pixels
    # Of the forward pass; or "bfloat16". Rows are float16. Without --precision, stages choose what
    # the device computes well.
    precision: str = "float32"

    def __post_init__(self) -> None:
        check("--grid", "1 or more", self.grid, self.grid > 0)
        check("--size", "1 or more", self.size, self.size > 0)


@dataclass(frozen=True)
class PictureFiles:
    """The folders that training reads pictures from: pyramids, and their sources."""

    extraction: Path  # output of ExtractPyramid
    grounding: Path  # output of GroundCrops
    pyramids: Path  # the store's folder of rows
    root: Path  # the data root
    config: ExtractConfig


def extract_preset(dataset: str) -> ExtractConfig:
    """Return the default settings of a data set. The demo's need no download."""
    return (
        ExtractConfig(backbone="resnet18", weights=RANDOM) if dataset == DEMO else ExtractConfig()
    )


def extract_config(dataset: str, values: Mapping[str, Any]) -> ExtractConfig:
    """Return a data set's settings, with the values given. A seed without effect is set to 0."""
    config = changed(extract_preset(dataset), values)
    return config if config.weights == RANDOM else replace(config, seed=0)
