"""Finished training runs as experiments read them, and the counts behind their scores."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model.hvpnet.variants import HVPNET
from pipeline.corpus.labels import NO_RELATION, clean_tags, entities_of
from pipeline.engine.files import read_json
from pipeline.experiments.published import title_of
from pipeline.extraction.config import PictureFiles
from pipeline.training.possible import PREDICTED

PREDICTIONS = "predictions.jsonl"
SHUFFLED, NO_PICTURE = "shuffled", "no-picture"  # of pyramids
SHUFFLED_TEXT, NO_TEXT = "shuffled-text", "no-text"  # of picture texts
CONTROLS = (SHUFFLED, NO_PICTURE, SHUFFLED_TEXT, NO_TEXT)  # their names, and their folders'
OTHERS = "shuffled "  # begins the field `knowledge` of a row trained on other posts' texts


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run and the data that it was trained on.

    folder: output of TrainRE or TrainNER.
    name: its name in tables, such as "hvpnet" or "text-only".
    posts: output of ReadPosts.
    root: the folder that file names in posts are relative to.
    files: stored pyramids and pictures; None for a text-only run.
    texts: output of DescribePictures; None for a run that reads no picture texts.
    """

    folder: Path
    name: str
    posts: Path
    root: Path
    files: PictureFiles | None
    texts: Path | None = None

    @property
    def short(self) -> str:
        """The run on pages: the names of its stage and its folder."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def model(self) -> Path:
        """The folder of the saved model."""
        return self.folder / "model"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The run's `metrics.json`."""
        metrics: dict[str, Any] = read_json(self.folder / "metrics.json")
        return metrics

    @property
    def task(self) -> str:
        """The run's task: "re" or "ner"."""
        return str(self.metrics["task"])

    @property
    def system(self) -> str:
        """The system of the run's model; runs older than this setting are HVPNeT's."""
        return str(self.metrics["config"].get("system", HVPNET))

    @property
    def title(self) -> str:
        """Data set and task for headings, such as "mnre, relations" or "demo (hard), entities"."""
        demo = [k["settings"] for k in self.metrics.get("keys", ()) if k["stage"] == "MakeDemo"]
        which = "".join(f" ({d['difficulty']})" for d in demo if "difficulty" in d)
        return f"{self.metrics['dataset']}{which}, {PREDICTED[self.task]}"

    @property
    def about(self) -> str:
        """Settings, crops and label version of the run in a line, to compare tables by."""
        config = self.metrics.get("config", {})
        values = {name: _short(str(config.get(name))) for name in ABOUT if name in config}
        crops = ", ".join(f"{count} by {n}" for n, count in self.metrics.get("crops", {}).items())
        values |= {REGIONS: crops} if crops else {}
        labels = self.metrics.get("label_version")
        values |= {"labels": labels} if labels else {}
        if "texts" in self.metrics:
            values["picture texts"] = f"up to {config['knowledge_tokens']} word pieces"
        return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def _short(value: str) -> str:
    """Return a value as it is, and of a folder's path the last two names."""
    return "/".join(Path(value).parts[-2:]) if Path(value).is_absolute() else value


REGIONS = "regions"  # begins the setting that tells a run's crops
ABOUT = ("encoder", "epochs", "batch_size", "learning_rate", "precision")  # of a run's settings


def name_of(fields: Mapping[str, Any]) -> str:
    """Return the name of a table's row: the values that tell it from others, except None.

    Another system's name replaces that of its variant.
    """
    shown = dict(fields)
    if system := shown.pop("system", None):
        shown["variant"] = title_of(system)
    return ", ".join(str(value) for value in shown.values() if value is not None)


@dataclass(frozen=True)
class Counts:
    """The counts of each post of a split, from which F1 is computed.

    ids: of the posts, in their order.
    figures: (posts, 3) integers: correct predictions, all predictions, gold items.
    """

    ids: list[str]
    figures: np.ndarray


def counts_of(predictions: Path, split: str) -> Counts:
    """Count the predictions of a split's labelled posts, in a `predictions.jsonl` of training.

    Entities are counted as by seqeval's lenient mode, relations without "None", so that their sums
    give the scores in `metrics.json`.
    """
    ids, figures = [], []
    for line in lines_of(predictions, split):
        gold, predicted = items_of(line)
        if gold is not None:
            ids.append(line["id"])
            figures.append((len(gold & predicted), len(predicted), len(gold)))
    return Counts(ids, np.array(figures, dtype=np.int64).reshape(-1, 3))


def lines_of(predictions: Path, split: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a `predictions.jsonl` that are of a split."""
    with predictions.open(encoding="utf-8") as file:
        for text in file:
            line: dict[str, Any] = json.loads(text)
            if line["split"] == split:
                yield line


def items_of(line: Mapping[str, Any]) -> tuple[set[Any] | None, set[Any]]:
    """Return the gold and the predicted entities or relations of a line; gold None: no labels."""
    if "predicted_relation" in line:
        gold = None if line.get("relation") is None else {line["relation"]} - {NO_RELATION}
        return gold, {line["predicted_relation"]} - {NO_RELATION}
    gold = None if line.get("tags") is None else {*entities_of(line["tags"])}
    return gold, {*entities_of(clean_tags(line["predicted_tags"]))}
