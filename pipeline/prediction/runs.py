"""Read from a training run what prediction needs: model, precision, settings of pictures.

All of it is in the run's own files, except weights that were given as files: for these
`metrics.json` holds path and digest, and a file with another digest is refused.
"""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchvision import models

from features.errors import need_readable
from features.grounding.hub import is_cached
from model.hvpnet.variants import TEXT_ONLY
from pipeline.corpus.files import clip
from pipeline.description.config import CAPTIONER, FILE, OBJECTS, DescribeConfig
from pipeline.engine.digests import Digests, in_a_word, of_file
from pipeline.engine.files import read_json
from pipeline.errors import DataError, SettingError
from pipeline.extraction.config import RANDOM, ExtractConfig
from pipeline.grounding.config import READ_PHRASES, GroundConfig, ground_config
from pipeline.machine import FLOAT32
from pipeline.training.config import BACKBONE

MODEL, CONFIG, METRICS = "model", "config.json", "metrics.json"
_FROM_DISK = "sha256 "  # in a digest that replaces the path of a file or folder in the settings
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureSetup:
    """Settings of grounding and extraction. Weights are published names or existing files."""

    grounding: GroundConfig
    extraction: ExtractConfig


@dataclass(frozen=True)
class TextSetup:
    """Settings of a describer. grounding: of the regions that `objects` names; else None."""

    config: DescribeConfig
    grounding: GroundConfig | None = None


@dataclass(frozen=True)
class Run:
    """A trained model.

    precision: of its training.
    pictures: None for a text-only model.
    texts: the describer of the pictures; None if the model reads no picture texts, or was trained
        on texts from files: then only records bring texts.
    """

    model: Path
    precision: str
    pictures: PictureSetup | None
    texts: TextSetup | None = None


@dataclass(frozen=True)
class Files:
    """Weights that the user names, in place of those that a run names."""

    backbone: Path | None = None
    grounder: Path | None = None  # file or folder
    describer: Path | None = None  # folder of a captioner


def open_run(folder: Path, files: Files) -> Run:
    """Read the settings of a training run, an import, or a model's own folder.

    Raises DataError for a folder without a model, and for weights that are missing or have another
    digest than at training; AccessError.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected the folder of a run or a model, found none")
    model = folder / MODEL if (folder / MODEL / CONFIG).is_file() else folder
    metrics = _object(folder / METRICS) if (folder / METRICS).is_file() else {}
    if not (model / CONFIG).is_file():
        raise DataError(f"{folder}: expected {_expected(folder, metrics)}")
    if model.name == MODEL and model == folder and (folder.parent / METRICS).is_file():
        metrics = _object(folder.parent / METRICS)  # `folder` is the run's model/
    need_readable(model)
    config = _object(model / CONFIG)
    if not {"variant", "pyramids"} <= config.keys():
        raise DataError(f"{model}: expected a model of TrainNER, TrainRE or ImportReleased")
    precision = metrics.get("config", {}).get("precision", FLOAT32)
    texts = _texts(model, config.get("texts") or {}, metrics, files)
    if config["variant"] == TEXT_ONLY:
        return Run(model, precision, None, texts)
    weights = metrics.get("weights", {})
    extraction = ExtractConfig(**config["pyramids"])
    extraction = replace(
        extraction, weights=_backbone(model, extraction, weights.get("backbone"), files.backbone)
    )
    setup = PictureSetup(_grounding(model, metrics, files), extraction)
    return Run(model, precision, setup, texts)


def _object(file: Path) -> dict[str, Any]:
    """Read a JSON file of a run. Raises DataError, AccessError."""
    need_readable(file)
    try:
        value = read_json(file)
    except ValueError as error:
        raise DataError(f"{file}: expected JSON, found a damaged file: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{file}: expected a JSON object, found {clip(value)}")
    return value


def _expected(folder: Path, metrics: Mapping[str, Any]) -> str:
    """Return "X, found Y; what to do" for a folder without a model."""
    if "runs" in metrics:
        seeds = ", ".join(map(str, metrics["runs"]))
        return f"the run of one seed, found a summary over seeds ({seeds}); name one of the runs"
    if "labelled" in metrics:
        return "a run with a model, found an evaluation; name the model that it evaluated"
    inside = sorted(folder.glob(f"*/{MODEL}/{CONFIG}")) + sorted(
        folder.glob(f"*/*/{MODEL}/{CONFIG}")
    )
    if inside:
        return f"one run, found a folder of several; name one, such as {inside[0].parents[1]}"
    return f"a run of TrainNER or TrainRE with {MODEL}/, or a packed folder, found neither"


# --- the backbone


def _backbone(
    model: Path, config: ExtractConfig, recorded: Mapping[str, str] | None, named: Path | None
) -> str:
    """Return the backbone's weights: a file with the digest in the model's config, or a name."""
    wanted = config.weights
    if wanted == RANDOM:
        if named is not None:
            raise SettingError(
                f"backbone {named}: the model was trained on random weights, which need no file; "
                "leave it out"
            )
        return wanted
    if not wanted.startswith(_FROM_DISK):
        return wanted if named is None else str(_published(named, config))
    candidates = [model / BACKBONE, model.parent / BACKBONE]
    candidates += [Path(recorded["file"])] if recorded is not None else []
    advice = (
        "give the file that the model was trained on with backbone=FILE (--backbone FILE), or put "
        f"it at {model.parent / BACKBONE}"
    )
    candidates = candidates if named is None else [named]
    return str(_chosen(model, "backbone weights", wanted, candidates, advice))


def _published(file: Path, config: ExtractConfig) -> Path:
    """Check a file of torchvision's weights: its published name holds the start of its digest."""
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
    """Return the first candidate with a digest. Raises DataError that lists the others' digests."""
    seen = []
    for candidate in candidates:
        if not candidate.exists():
            continue
        need_readable(candidate)
        other = digest_of(candidate)
        if other == digest:
            return candidate
        seen.append(f"{candidate} ({other})")
    there = ", ".join(seen) or f"nothing at {', '.join(map(str, candidates)) or 'any known place'}"
    raise DataError(f"{model}: expected {what} with {digest}, found {there}; {advice}")


def _same(
    model: Path, what: str, digest: str, known: list[Path], named: Path | None, option: str
) -> str:
    """Return the path of the weights used at training: `named`, else the first of `known`.

    Raises DataError if their digest is another. option: how to name them.
    """
    candidates = known if named is None else [named]
    advice = f"name the one used at training with {option}"
    return str(_chosen(model, what, digest, candidates, advice))


def digest_of(path: Path) -> str:
    """Return the digest of a file or folder, as in the keys of stages."""
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
    """Return the settings with which the training's pictures were grounded."""
    key = next((k for k in metrics.get("keys", ()) if k["stage"] == "GroundCrops"), None)
    if key is None:
        log.info("%s: no settings of grounding are recorded; the defaults are used", model)
        return ground_config({}, "")
    config = GroundConfig.from_described(key["settings"])
    digests, recorded = key["sources"], metrics.get("weights", {})
    if "vocabulary" in digests:
        advice = "restore that file"
        words = _chosen(
            model, "vocabulary", digests["vocabulary"], _recorded(recorded, "vocabulary"), advice
        )
        config = replace(config, vocabulary=str(words))
    known = _recorded(recorded, "grounder")
    return with_grounder(config, model, digests.get("weights"), known, files.grounder)


def _recorded(weights: Mapping[str, Any], name: str) -> list[Path]:
    """Return the path that a file had at training; empty for older runs, which do not record it."""
    return [Path(weights[name]["file"])] if name in weights else []


def with_grounder(
    config: GroundConfig, model: Path, digest: str | None, known: list[Path], named: Path | None
) -> GroundConfig:
    """Return the settings with a learned grounder's weights: a published name or an existing path.

    digest: digest of the weights if they were given as files at training, else None.
    known: paths where they may be.
    named: path that the user named, used in place of `known`.
    """
    if config.finder not in READ_PHRASES:
        if named is not None:
            log.info("%s: grounded with %s, so %s is not used", model, config.finder, named)
        return config
    if digest is not None:
        option = "grounder=PATH (--grounder PATH)"
        return replace(config, weights=_same(model, "grounder", digest, known, named, option))
    if named is not None and not named.exists():
        raise DataError(f"grounder {named}: expected a file or folder, found nothing")
    if named is None and not is_cached(str(config.weights)):
        log.info("%s: its grounder %s will be downloaded from the hub", model, config.weights)
    return config if named is None else replace(config, weights=str(named))


# --- the describer


def _texts(
    model: Path, made_by: Mapping[str, Any], metrics: Mapping[str, Any], files: Files
) -> TextSetup | None:
    """Return the settings with which the training's pictures were described.

    made_by: settings that made the texts, as in the model's configuration; empty if it reads none.
    """
    if not made_by or made_by["describer"] == FILE:
        return None
    config = DescribeConfig.from_described(made_by)
    grounding = None
    if config.describer == OBJECTS:
        grounding = _grounding(model, metrics, files)
    if config.describer == CAPTIONER:
        known = _recorded(metrics.get("weights", {}), "describer")
        digest = config.weights if _FROM_DISK in str(config.weights) else None
        config = with_captioner(config, model, digest, known, files.describer)
    return TextSetup(config, grounding)


def with_captioner(
    config: DescribeConfig, model: Path, digest: str | None, known: list[Path], named: Path | None
) -> DescribeConfig:
    """Return the settings with a captioner's weights: a published name or an existing folder.

    Arguments as for `with_grounder`.
    """
    if digest is not None:
        option = "describer=FOLDER (--describer FOLDER)"
        return replace(config, weights=_same(model, "captioner", digest, known, named, option))
    if named is not None and not named.is_dir():
        raise DataError(f"describer {named}: expected the folder of a captioner, found none")
    return config if named is None else replace(config, weights=str(named))
