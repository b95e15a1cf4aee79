"""Settings of extraction and training, and their values for each task and data set.

Imports nothing heavy: Luigi asks for settings before it knows whether there is anything to do.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

SCRATCH = "scratch"  # the encoder that needs no weights: small, trained on the posts alone


ROW_VERSION = 1  # of the store's rows: raised when the same pixels give other numbers
RANDOM = "random"  # the backbone that needs none
DEMO = "demo"
TEXT_ONLY = "text-only"
DEVICES = ("auto", "cpu", "cuda")
VARIANTS = ("hvpnet", TEXT_ONLY)


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
    precision: str = "float32"  # of the forward pass, or "bfloat16"; rows are float16


@dataclass(frozen=True)
class Machine:
    """What can't change a row, only how soon it is there."""

    device: str = "auto"
    batch_size: int = 32  # rows a forward pass
    threads: int = 4  # that decode pictures


@dataclass(frozen=True)
class PictureFiles:
    """Where training finds the pictures' side: pyramids, and what they were computed from."""

    extraction: Path  # ExtractPyramid's output
    grounding: Path  # GroundCrops's output
    pyramids: Path  # the store's folder of rows
    root: Path  # the data root
    config: ExtractConfig


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run's result, beside its posts and pyramids.

    Defaults are the paper's for relations (Appendix B.1). Rates are AdamW's peak; the schedule is
    linear, up over the share `warmup` of all steps, then down to 0.
    """

    variant: str = "hvpnet"  # or text-only
    encoder: str = "bert-base-uncased"  # hub name, folder, or "scratch"
    seed: int = 1234
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_learning_rate: float = 1e-5  # classifier, and the CRF's transitions
    weight_decay: float = 0.01  # not on biases and normalisation
    warmup: float = 0.1
    evaluate_from: int = 8  # first epoch that is scored on validation; the last if beyond it
    max_tokens: int = 80  # word pieces, special ones and markers included
    dropout: float = 0.1  # before the head
    max_grad_norm: float = 1.0
    finetune_backbone: bool = False
    backbone_learning_rate: float = 1e-5  # used with finetune_backbone


_ENTITIES: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 8,
    "learning_rate": 3e-5,
    "head_learning_rate": 5e-2,  # the published code's; the paper names none
    "evaluate_from": 16,
}
_DEMO: dict[str, Any] = {
    "encoder": SCRATCH,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-3,
    "evaluate_from": 1,
}


def extract_preset(dataset: str) -> ExtractConfig:
    """The values of a data set, before people change any; the demo needs no download."""
    return (
        ExtractConfig(backbone="resnet18", weights=RANDOM) if dataset == DEMO else ExtractConfig()
    )


def train_preset(task: str, dataset: str) -> TrainConfig:
    """The values of a task ("re" or "ner") on a data set, before people change any."""
    config = TrainConfig()
    if task == "ner":
        config = replace(config, **_ENTITIES)
    if dataset == "twitter2017":
        config = replace(config, max_tokens=128)
    if dataset == DEMO:
        config = replace(config, **_DEMO)
    return config


Config = TypeVar("Config", ExtractConfig, TrainConfig, Machine)


def changed(config: Config, people: object) -> Config:
    """The configuration with people's own values; None, or no such attribute, keeps its own."""
    values = {field.name: getattr(people, field.name, None) for field in fields(config)}
    return replace(config, **{name: v for name, v in values.items() if v is not None})


def extract_config(dataset: str, people: object) -> ExtractConfig:
    """A data set's extraction, with people's own values. A setting without effect is left out."""
    config = changed(extract_preset(dataset), people)
    return config if config.weights == RANDOM else replace(config, seed=0)


def train_config(task: str, dataset: str, people: object) -> TrainConfig:
    """A data set's training, with people's own values. A setting without effect is left out."""
    config = changed(train_preset(task, dataset), people)
    if config.variant == TEXT_ONLY:
        config = replace(config, finetune_backbone=False)
    if not config.finetune_backbone:
        config = replace(config, backbone_learning_rate=0.0)
    return config
