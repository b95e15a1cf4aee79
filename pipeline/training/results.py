"""What training runs and evaluations scored, for people to read."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from features.errors import need_readable
from model.hvpnet.variants import PAPER, TEXT_ONLY
from pipeline.corpus import label_version
from pipeline.corpus.post import SPLITS
from pipeline.engine.files import read_json, write_json
from pipeline.engine.outputs import folders
from pipeline.errors import DataError
from pipeline.machine import FLOAT32

_LABELS = {"re": "relation", "ner": "tags"}
PRF = ("precision", "recall", "f1")


def scores(store: Path, stages: Sequence[str], dataset: str | None) -> list[str]:
    """A table of all training runs, with pictures and without, the best on validation first.

    stages: the names of the training stages. dataset: only this one's runs.
    """
    rows = []
    for name in stages:
        for folder in folders(store, name):
            rows.append((name, folder, _read_metrics(folder)))
    rows = [row for row in rows if dataset in (None, row[2]["dataset"])]
    rows.sort(key=lambda row: (row[2]["dataset"], row[0], -_f1_on_val(row[2])))
    if not rows:
        return ["no training run yet"]
    head = f"{'task':9}{'dataset':13}{'variant':13}{'style':9}{'seed':>10}"
    lines = [f"{head}  {'val F1':>13}  test P / R / F1"]
    for name, folder, found in rows:
        config = found["config"]
        where = folder if "runs" in found else folder / "model"
        lines.append(
            f"{name:9}{found['dataset']:13}{config['variant']:13}{config.get('style', PAPER):9}"
            f"{_seed(found):>10}  {figures(found, 'val', ['f1']):>13}  {figures(found, 'test')}"
            f"{_labels(found)}   {where}"
        )
    return lines


def result(folder: Path, text_only: Path, made: bool) -> list[str]:
    """A run's scores, beside those of the same run without pictures, and where its model is.

    text_only: the run without pictures; `made`: it is there.
    """
    found = _read_metrics(folder)
    lines = [_line(found)]
    if folder != text_only:
        bare = _read_metrics(text_only) if made else None
        lines.append(
            _line(bare) if bare else f"{TEXT_ONLY:12}  not run; add --variant text-only to compare"
        )
    kind, where = ("summary", "metrics.json") if "runs" in found else ("model", "model")
    return [*lines, f"{kind:12}  {folder / where}"]


def evaluation(folder: Path) -> list[str]:
    """The scores of a saved model, and where its predictions are."""
    found = _read_metrics(folder)
    lines = [f"{name:4}  P / R / F1 {figures(found, name)}" for name in SPLITS if name in found]
    for name, count in found["posts"].items():
        bare = count - found.get("labelled", found["posts"])[name]
        if bare:
            lines.append(
                f"{name:4}  {bare} of {count} posts have no {_LABELS[found['task']]}: predicted, "
                "not scored"
            )
    return [*lines, f"predictions  {folder / 'predictions.jsonl'}"]


def _line(found: dict[str, Any]) -> str:
    epoch = "" if "runs" in found else f" (epoch {found['best_epoch']})"
    return (
        f"{found['config']['variant']:12}  val F1 {figures(found, 'val', ['f1'])}{epoch}  "
        f"test P / R / F1 {figures(found, 'test')}"
    )


def _labels(found: dict[str, Any]) -> str:
    """Name the labels of Twitter-2015 that a run was scored on; "" for other data sets."""
    if found["dataset"] != label_version.DATASET:
        return ""
    version = found.get("label_version", "labels unknown")  # of a run older than the entry
    return f"  {'original labels' if version == label_version.ORIGINAL else version}"


def _read_metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / "metrics.json")
    return found


def _seed(found: dict[str, Any]) -> str:
    return f"mean of {len(found['runs'])}" if "runs" in found else str(found["config"]["seed"])


def _f1_on_val(found: dict[str, Any]) -> float:
    return float(found.get("mean", found)["val"]["f1"])


def figures(found: dict[str, Any], split: str, names: Sequence[str] = PRF) -> str:
    """Precision, recall, F1 of a run on a split, or their mean ± deviation over several seeds."""
    if "runs" in found:
        mean, deviation = found["mean"].get(split), found["deviation"].get(split)
        both = [f"{mean[n]:.2f} ± {deviation[n]:.2f}" for n in names] if mean else []
    else:
        both = [f"{found[split][n]:.2f}" for n in names] if split in found else []
    return " / ".join(both) or f"no {split} posts"


def summarise(runs: Sequence[Path], folder: Path, about: dict[str, Any]) -> None:
    """Mean and deviation of runs that differ in their seed alone, into `folder/metrics.json`.

    The deviation is that of a sample (n - 1); of one run it is 0.
    """
    found = {run: _read_metrics(run) for run in runs}
    splits = [name for name in SPLITS if all(name in one for one in found.values())]
    first = found[runs[0]]
    table = {split: {n: [one[split][n] for one in found.values()] for n in PRF} for split in splits}
    write_json(
        folder / "metrics.json",
        {
            "task": first["task"],
            **about,
            **{name: first[name] for name in ("label_version",) if name in first},
            "mean": _each(table, statistics.fmean),
            "deviation": _each(table, lambda x: statistics.stdev(x) if len(x) > 1 else 0.0),
            "runs": {
                one["config"]["seed"]: {
                    "fingerprint": one["fingerprint"],
                    "best_epoch": one["best_epoch"],
                    **{split: {n: one[split][n] for n in PRF} for split in splits},
                }
                for one in found.values()
            },
            "config": {name: v for name, v in first["config"].items() if name != "seed"},
        },
    )


def _each(
    table: dict[str, dict[str, list[float]]], of: Callable[[list[float]], float]
) -> dict[str, dict[str, float]]:
    return {split: {n: of(x) for n, x in row.items()} for split, row in table.items()}


def metrics_of(model: Path) -> dict[str, Any]:
    """The `metrics.json` of the run that made a saved model; empty for a model without its run.

    Raises DataError where it can't be read.
    """
    file = (model.parent if model.name == "model" else model) / "metrics.json"
    if not file.is_file():
        return {}
    need_readable(file)
    try:
        metrics = read_json(file)
    except ValueError as error:
        raise DataError(
            f"{file}: expected a training run's metrics, cannot be read as JSON ({error}); restore "
            "the file, or move it away to do without"
        ) from error
    return metrics if isinstance(metrics, dict) else {}


def precision_of(model: Path) -> str:
    """The precision of a saved model's training; float32 for one without its run."""
    return str(metrics_of(model).get("config", {}).get("precision", FLOAT32))


def needs_pictures(model: Path) -> bool:
    """Whether a saved model reads pyramids. Raises DataError where there is none."""
    need_readable(model / "config.json")
    try:
        return bool(read_json(model / "config.json")["variant"] != TEXT_ONLY)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{model}: expected a model folder of ours, found no config.json that names a variant"
        ) from error
