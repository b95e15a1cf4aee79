"""What prediction needs of a training run: its model, its precision, and how pictures are read.

A run's own files say all but where weights lie that were given as files: `metrics.json` names the
file beside its digest, and a file with another digest is refused.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchvision import models

from features.errors import need_readable
from features.grounding.hub import is_cached
from model.hvpnet.variants import TEXT_ONLY
from pipeline.engine.digests import Digests, in_a_word, of_file
from pipeline.engine.files import read_json
from pipeline.errors import DataError, SettingError
from pipeline.extraction.config import RANDOM, ExtractConfig
from pipeline.grounding.config import DETECTOR, FAOA, GroundConfig, Grounders, ground_config
from pipeline.machine import FLOAT32
from pipeline.training.config import BACKBONE

MODEL, METRICS = "model", "metrics.json"
_FROM_DISK = "sha256 "  # how a digest begins that stands for a file's path
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureSetup:
    """How a picture becomes regions, and regions rows. Weights are names, or files that exist."""

    grounding: GroundConfig
    extraction: ExtractConfig


@dataclass(frozen=True)
class Run:
    """A trained model. precision: of its training. pictures: None for a text-only model."""

    model: Path
    precision: str
    pictures: PictureSetup | None


@dataclass(frozen=True)
class Files:
    """Weights that people name, in place of those that a run names."""

    backbone: Path | None = None
    grounder: Path | None = None  # file or folder


def open_run(folder: Path, files: Files) -> Run:
    """Read what a training run, an import, or a model's folder says of itself.

    Raises DataError for a folder without a model, or weights that are missing or others than those
    that the model was trained on.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected the folder of a run or a model, found none")
    need_readable(folder)
    model = folder / MODEL if (folder / MODEL).is_dir() else folder
    metrics = _metrics(model.parent if model.name == MODEL else folder)
    if not (model / "config.json").is_file():
        raise DataError(f"{folder}: expected {_expected(folder, metrics)}")
    config = read_json(model / "config.json")
    if not {"variant", "pyramids"} <= config.keys():
        raise DataError(f"{model}: expected a model of TrainNER, TrainRE or ImportReleased")
    precision = metrics.get("config", {}).get("precision", FLOAT32)
    if config["variant"] == TEXT_ONLY:
        return Run(model, precision, None)
    weights = metrics.get("weights", {})
    extraction = ExtractConfig(**config["pyramids"])
    extraction = replace(
        extraction, weights=_backbone(model, extraction, weights.get("backbone"), files.backbone)
    )
    return Run(model, precision, PictureSetup(_grounding(model, metrics, files), extraction))


def _metrics(folder: Path) -> Mapping[str, Any]:
    """A run's metrics.json; empty for a model without its run."""
    file = folder / METRICS
    return read_json(file) if file.is_file() else {}


def _expected(folder: Path, metrics: Mapping[str, Any]) -> str:
    """Words for a folder without a model."""
    if "runs" in metrics:
        seeds = ", ".join(map(str, metrics["runs"]))
        return f"the run of one seed, found a summary over seeds ({seeds}); name one of the runs"
    if "labelled" in metrics:
        return "a run with a model, found an evaluation; name the model that it evaluated"
    return f"a run's folder with {MODEL}/, or a model's folder with config.json, found neither"


# --- the backbone


def _backbone(
    model: Path, config: ExtractConfig, recorded: Mapping[str, str] | None, named: Path | None
) -> str:
    """The backbone's weights: a file with the digest that the model knows, or a name."""
    wanted = config.weights
    if wanted == RANDOM:
        if named is not None:
            raise SettingError(
                f"backbone {named}: the model was trained on random weights, which need no file"
            )
        return wanted
    if not wanted.startswith(_FROM_DISK):
        return wanted if named is None else str(_published(named, config))
    beside = [model / BACKBONE, model.parent / BACKBONE]
    candidates = [named] if named is not None else beside
    if named is None and recorded is not None:
        candidates.append(Path(recorded["file"]))
    advice = "give the file that the model was trained on with backbone=FILE (--backbone FILE)"
    return str(_chosen(model, "backbone weights", wanted, candidates, advice))


def _published(file: Path, config: ExtractConfig) -> Path:
    """A file of torchvision's weights: its published name ends with the start of its digest."""
    url = models.get_model_weights(config.backbone).__members__[config.weights].url
    start = url.rsplit("-", 1)[-1].partition(".")[0]
    digest = of_file(file) if file.is_file() else ""
    if not digest.startswith(start):
        raise DataError(
            f"backbone {file}: expected torchvision's {config.weights} of {config.backbone} "
            f"(sha256 {start}…), found {f'sha256 {digest[:16]}' if digest else 'no file'}"
        )
    return file


def _chosen(model: Path, what: str, digest: str, candidates: list[Path], advice: str) -> Path:
    """The first of the files or folders with a digest. Raises DataError that says what is there."""
    seen = []
    for candidate in candidates:
        if not candidate.exists():
            continue
        need_readable(candidate)
        content = _content(candidate)
        if content == digest:
            return candidate
        seen.append(f"{candidate} ({content})")
    there = ", ".join(seen) or f"nothing at {', '.join(map(str, candidates)) or 'any known place'}"
    raise DataError(f"{model}: expected {what} with {digest}, found {there}; {advice}")


def _content(path: Path) -> str:
    """Digest of a file or folder, as stages' keys have it."""
    if path.is_file():
        return in_a_word(of_file(path))
    with tempfile.TemporaryDirectory() as memory:
        digests = Digests(Path(memory) / "digests.sqlite")
        try:
            return digests.of_folder(path)
        finally:
            digests.close()


# --- the grounder


def _grounding(model: Path, metrics: Mapping[str, Any], files: Files) -> GroundConfig:
    """How the training's pictures were grounded, its weights as files or names."""
    key = next((k for k in metrics.get("keys", ()) if k["stage"] == "GroundCrops"), None)
    if key is None:
        log.info("%s: not known how its pictures were grounded; new ones are by default", model)
        return ground_config({}, "")
    config = GroundConfig.from_described(key["settings"])
    for name, option in (("weights", "grounder"), ("vocabulary", "vocabulary")):
        digest = key["sources"].get(name)
        named = files.grounder if name == "weights" else None
        if digest is None and named is None:
            continue
        recorded = metrics.get("weights", {}).get(option)
        candidates = [Path(recorded["file"])] if recorded else []
        if named is not None:
            candidates = [named]
        advice = f"give the one that the pictures were grounded with as {option}="
        path = named if digest is None else _chosen(model, option, digest, candidates, advice)
        config = replace(config, **{name: str(path)})
    if config.finder in (DETECTOR, FAOA) and not _is_there(str(config.weights)):
        log.info("%s: grounder %s is fetched from the hub", model, config.weights)
    return config


def _is_there(weights: str) -> bool:
    return Path(weights).exists() or is_cached(weights)


def with_finder(config: GroundConfig, finder: str) -> GroundConfig:
    """The same grounding by another grounder, for posts that come without regions."""
    return replace(config, grounder=Grounders(finder, config.grounder.released))


def each_setup(runs: list[Run]) -> Iterator[PictureSetup]:
    """The different setups of several runs."""
    yield from dict.fromkeys(run.pictures for run in runs if run.pictures is not None)
