"""Settings of extraction and training, and their values for each task and data set.

Imports nothing heavy: Luigi asks for settings before it knows whether there is anything to do.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from model.variants import FLAT, HVPNET, ONE_TO_THREE, PAPER, RELEASED, TEXT_ONLY
from model.variants import STYLES as STYLES
from model.variants import VARIANTS as VARIANTS
from pipeline.corpus import DataError
from pipeline.phrases import resolve_phrases
from pipeline.precision import PRECISIONS as PRECISIONS
from pipeline.precision import well_done

SCRATCH = "scratch"  # the encoder that needs no weights: small, trained on the posts alone
ROW_VERSION = 2  # of the store's rows: raised when the same pixels give other numbers
RANDOM = "random"  # the backbone that needs none
BACKBONE = "backbone.safetensors"  # where ImportReleased and fine-tuning write weights
DEMO = "demo"
DEVICES = ("auto", "cpu", "cuda")
AUTO = "auto"
BY_SCORE, BY_PHRASE = "score", "phrase"
ORDERS = (BY_SCORE, BY_PHRASE)
DETECTOR, FAOA, SALIENCE, NONE = "detector", "faoa", "salience", "none"
GROUNDERS = (AUTO, RELEASED, DETECTOR, FAOA, SALIENCE, NONE)
TRAINED_ON = ("flickr", "referit", "unc", "gref", "refcoco")  # data of FAOA's checkpoints
GENERIC = "generic"  # the phrases below
FALLBACKS = (GENERIC, SALIENCE, NONE)  # each is followed by those behind it
GENERIC_PHRASES = ("person", "logo", "sign", "building", "vehicle", "animal")
READ_PHRASES = (DETECTOR, FAOA)
DETECTOR_WEIGHTS = "iSEE-Laboratory/llmdet_tiny"  # the best open one at its cost (LVIS AP 44.7)
VOCABULARY = "bert-base-uncased"
# A detector's is the threshold of transformers' own post-processing. The published crops were taken
# whatever the confidence. Salience has its own floor.
_MIN_SCORES = {DETECTOR: 0.25, FAOA: 0.0, SALIENCE: 0.0}
RECIPES = (PAPER, RELEASED)  # Appendix B.1 of the paper; the published scripts


def _check(option: str, expected: str, found: float, good: bool) -> None:
    if not good:
        raise DataError(f"{option}: expected {expected}, found {found}")


@dataclass(frozen=True)
class GroundConfig:
    """All that decides which regions a post gets, beside its sentence and its picture."""

    grounder: str = AUTO  # released, detector, faoa, salience, none
    phrases: str = AUTO
    max_crops: int = 3  # m of the paper
    order: str = BY_SCORE  # of the regions, or by their phrases' order
    min_score: float | None = None  # None: the grounder's own, below
    overlap: float = 0.5  # intersection over union above which the later region goes
    boxes_per_phrase: int = 1
    fallback: str = GENERIC  # for posts without a phrase; what follows is tried if it finds nothing
    weights: str | None = None  # hub name or folder of a detector; checkpoint of faoa
    vocabulary: str | None = None  # of faoa
    trained_on: str | None = None  # faoa's data, which decides its anchors
    precision: str = "float32"  # of a learned grounder, or "bfloat16"
    longest_side: int | None = None  # of the picture as a detector sees it; None: its own

    def __post_init__(self) -> None:
        _check("--max-crops", "0 or more", self.max_crops, self.max_crops >= 0)
        _check("--boxes-per-phrase", "1 or more", self.boxes_per_phrase, self.boxes_per_phrase > 0)
        _check("--overlap", "0 to 1", self.overlap, 0 <= self.overlap <= 1)
        least = 0.0 if self.min_score is None else self.min_score
        _check("--min-score", "0 to 1", least, 0 <= least <= 1)

    @property
    def finder(self) -> str:
        """The grounder that opens pictures: the last one named."""
        return self.grounder.rsplit(", ", 1)[-1]


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


@dataclass(frozen=True)
class Machine:
    """What can't change a row or a box, only how soon it is there."""

    device: str = "auto"
    batch_size: int | None = None  # rows, or pictures, a forward pass; None: what suits the device
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)  # that decode pictures

    def __post_init__(self) -> None:
        size = 1 if self.batch_size is None else self.batch_size
        _check("--batch-size", "1 or more", size, size > 0)
        _check("--threads", "1 or more", self.threads, self.threads > 0)


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

    variant: str = HVPNET  # flat, 1t3, only-objects, text-only
    style: str = PAPER  # of the model, or released
    encoder: str = "bert-base-uncased"  # hub name, folder, or "scratch"
    seed: int = 1234
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_learning_rate: float | None = None  # classifier and CRF; None: as the rest
    weight_decay: float = 0.01
    decay_all: bool = False  # also biases and normalisation
    warmup: float = 0.1
    evaluate_from: int = 8  # first epoch that is scored on validation; the last if beyond it
    max_tokens: int = 80  # word pieces, special ones and markers included
    dropout: float = 0.1  # before the head
    max_grad_norm: float = 0.0  # gradients are clipped to it; 0: not at all
    # Of the matrix products, or "bfloat16"; weights are float32. Stages: as in ExtractConfig.
    precision: str = "float32"
    finetune_backbone: bool = False
    backbone_learning_rate: float = 1e-5  # used with finetune_backbone


# What the sources give; all else is TrainConfig's. Not the paper's but the published code's are the
# longest text, the seed, no clipping, and dropout before the CRF; before the relation classifier it
# is ours.
_RECIPES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    PAPER: {
        "re": {},
        "ner": {
            "epochs": 30,
            "batch_size": 8,
            "learning_rate": 3e-5,  # the paper: 1e-5 to 3e-5
            "head_learning_rate": 5e-2,  # the published code's; the paper names none
            "evaluate_from": 16,
        },
    },
    RELEASED: {
        "re": {
            "epochs": 15,
            "batch_size": 16,
            "learning_rate": 3e-5,
            "decay_all": True,
            "warmup": 0.06,
            "evaluate_from": 1,
            "dropout": 0.0,  # there is one, and it is never applied
        },
        "ner": {
            "epochs": 30,
            "batch_size": 8,
            "learning_rate": 3e-5,
            "head_learning_rate": 5e-2,
            "decay_all": True,
            "warmup": 0.01,
            "evaluate_from": 3,
        },
    },
}
# The published scripts train without pictures in other parameter groups than with them.
_RELEASED_TEXT_ONLY: Mapping[str, Mapping[str, Any]] = {
    "re": {"decay_all": False},
    "ner": {"head_learning_rate": None},
}
_DEMO: Mapping[str, Any] = {
    "encoder": SCRATCH,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "head_learning_rate": None,
    "evaluate_from": 1,
    "max_grad_norm": 1.0,
}


def extract_preset(dataset: str) -> ExtractConfig:
    """The values of a data set, before people change any; the demo needs no download."""
    return (
        ExtractConfig(backbone="resnet18", weights=RANDOM) if dataset == DEMO else ExtractConfig()
    )


def train_preset(
    task: str, dataset: str, recipe: str = PAPER, variant: str = HVPNET
) -> TrainConfig:
    """A recipe's values for a task ("re" or "ner") on a data set, before people change any.

    Encoder, schedule and rates of the demo are its own, whatever the recipe.
    """
    config = replace(TrainConfig(variant=variant), **_RECIPES[recipe][task])
    if recipe == RELEASED and variant == TEXT_ONLY:
        config = replace(config, **_RELEASED_TEXT_ONLY[task])
    if dataset == "twitter2017":
        config = replace(config, max_tokens=128)
    if dataset == DEMO:
        config = replace(config, **_DEMO)
    return config


Config = TypeVar("Config", GroundConfig, ExtractConfig, TrainConfig, Machine)
Computing = TypeVar("Computing", ExtractConfig, TrainConfig)


def changed(config: Config, people: object) -> Config:
    """The configuration with people's own values; None, or no such attribute, keeps its own."""
    values = {field.name: getattr(people, field.name, None) for field in fields(config)}
    return replace(config, **{name: v for name, v in values.items() if v is not None})


def _quick(config: Computing, people: object) -> Computing:
    """The configuration in the precision that people's device does well."""
    return replace(config, precision=well_done(getattr(people, "device", AUTO)))


def ground_config(people: object, dataset: str, released: bool = False) -> GroundConfig:
    """How posts are grounded, with people's own values; "auto" is decided, no setting is idle.

    Under "auto", posts with a grounding of their own keep it; the others get the detector's where
    its weights are on this machine, else salience. released: no post is without one. The demo has
    none, and salience everywhere. Raises DataError.
    """
    config = changed(GroundConfig(), people)
    weights = config.weights or DETECTOR_WEIGHTS
    if config.grounder == AUTO and (released or dataset == DEMO):
        config = replace(config, grounder=RELEASED if released else SALIENCE)
    elif config.grounder == AUTO:
        from features.grounding.hub import is_cached

        learned = config.weights is not None or is_cached(weights)
        config = replace(config, grounder=f"{RELEASED}, {DETECTOR if learned else SALIENCE}")
    finder, plain = config.finder, GroundConfig()
    if finder == FAOA:
        config = replace(_of_faoa(config), longest_side=None)
    else:
        config = replace(config, vocabulary=None, trained_on=None)
    if finder == DETECTOR:
        config = replace(config, weights=weights)
    if finder not in READ_PHRASES:
        config = replace(config, weights=None, precision=plain.precision, longest_side=None)
        config = replace(config, fallback=NONE, order=plain.order, boxes_per_phrase=1)
    if finder not in (*READ_PHRASES, SALIENCE):
        config = replace(config, overlap=plain.overlap, min_score=None)
    least = _MIN_SCORES.get(finder, 0.0) if config.min_score is None else config.min_score
    return replace(config, phrases=resolve_phrases(config.phrases), min_score=least)


def _of_faoa(config: GroundConfig) -> GroundConfig:
    """FAOA's checkpoint, which nothing stands in for, and the data that decides its anchors."""
    from features.grounding.anchors import ANCHORS, trained_on

    checkpoint = Path(config.weights or "")
    if not checkpoint.is_file():
        found = "none" if config.weights is None else f"no file {checkpoint}"
        raise DataError(
            f"--grounder faoa: expected --weights, a published checkpoint, found {found}"
        )
    data = config.trained_on or trained_on(checkpoint)
    if data not in ANCHORS:
        raise DataError(
            f"{checkpoint}: expected to know the data that it was trained on, which decides its "
            f"anchors; give --trained-on, one of {', '.join(ANCHORS)}"
        )
    return replace(config, trained_on=data, vocabulary=config.vocabulary or VOCABULARY)


def extract_config(dataset: str, people: object) -> ExtractConfig:
    """A data set's extraction, with people's own values. A setting without effect is left out."""
    config = changed(_quick(extract_preset(dataset), people), people)
    return config if config.weights == RANDOM else replace(config, seed=0)


def train_config(task: str, dataset: str, people: object) -> TrainConfig:
    """A recipe's training on a data set, with people's own values, which win.

    A setting without effect is left out. Raises DataError for settings that don't go together.
    """
    recipe = getattr(people, "recipe", PAPER)
    variant = getattr(people, "variant", None) or HVPNET
    config = changed(_quick(train_preset(task, dataset, recipe, variant), people), people)
    if config.style == RELEASED and variant in (FLAT, ONE_TO_THREE):
        raise DataError(
            f"--variant {variant}: expected --style {PAPER}, whose blocks it chooses from, found "
            f"{RELEASED}, in which every piece mixes all blocks"
        )
    if variant == TEXT_ONLY:
        config = replace(config, finetune_backbone=False)
    if not config.finetune_backbone:
        config = replace(config, backbone_learning_rate=0.0)
    if config.head_learning_rate == config.learning_rate:
        config = replace(config, head_learning_rate=None)
    return replace(
        config,
        evaluate_from=min(config.evaluate_from, config.epochs),
        decay_all=config.decay_all and config.weight_decay != 0,
    )


def recipes(dataset: str, variant: str) -> list[str]:
    """Each setting of both training tasks in each recipe, and how to change one."""
    columns = [(task, recipe) for task in ("re", "ner") for recipe in RECIPES]
    presets = [train_preset(task, dataset, recipe, variant) for task, recipe in columns]
    values = [asdict(_quick(preset, None)) for preset in presets]
    names = {"re": "TrainRE", "ner": "TrainNER"}
    lines = [f"{dataset}, variant {variant}; choose with --recipe, change with the option's value"]
    lines.append(f"{'option':26}" + "".join(f"{names[t]:10}{r:10}" for t, r in columns))
    for name in values[0]:
        if name not in ("variant", "style"):  # these have options of their own
            row = "".join(f"{_told(found[name]):20}" for found in values)
            lines.append(f"--{name.replace('_', '-'):24}{row}".rstrip())
    return lines


def _told(value: Any) -> str:
    return "as the rest" if value is None else str(value)
