"""Scores of training runs and evaluations, as lines and tables, and reading `metrics.json`."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from features.errors import need_readable
from model.hvpnet.variants import HVPNET, PAPER, TEXT_ONLY
from pipeline.corpus import label_version
from pipeline.corpus.post import SPLITS
from pipeline.engine.files import near, read_json, write_json
from pipeline.engine.outputs import folders
from pipeline.errors import DataError
from pipeline.machine import FLOAT32

_LABELS = {"re": "relation", "ner": "tags"}
PRF = ("precision", "recall", "f1")


def scores(store: Path, stages: Sequence[str], dataset: str | None) -> list[str]:
    """Return a table of all training runs, with and without pictures, the best on val first.

    stages: names of the training stages.
    dataset: only runs on this data set; None: all runs.
    """
    runs = {run: _read_metrics(run) for name in stages for run in folders(store, name)}
    kept = [run for run, metrics in runs.items() if dataset in (None, metrics["dataset"])]
    kept.sort(key=lambda run: (runs[run]["dataset"], run.parent.name, -_f1_on_val(runs[run])))
    return score_table(kept) if kept else ["no training run yet"]


def score_table(runs: Sequence[Path]) -> list[str]:
    """Return a table of training runs by their folders, with a line of headings."""
    rows = [("run", "model", "style", "seed", "val F1", "test P / R / F1", "")]
    for run in runs:
        metrics = _read_metrics(run)
        config = metrics["config"]
        rows.append(
            (
                *(str(near(run)), _named(config), _style(config), _seed(metrics)),
                *(figures(metrics, "val", ["f1"]), figures(metrics, "test"), _labels(metrics)),
            )
        )
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as lines in which columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def result(folder: Path, beside: Mapping[str, tuple[Path, bool]]) -> list[str]:
    """Return the scores of a run and of others to compare with, and its model's path.

    beside: what to do to make another run -> its folder, and True if it is made; the run itself is
        left out.
    """
    metrics = _read_metrics(folder)
    lines = [_line(metrics)]
    for advice, (other, made) in beside.items():
        if other != folder:
            lines.append(_line(_read_metrics(other)) if made else f"not run: {advice} to compare")
    lines += _words(metrics.get("words"))
    kind, where = ("summary", "metrics.json") if "runs" in metrics else ("model", "model")
    return [*lines, f"{kind:12}  {near(folder / where)}"]


def evaluation(folder: Path) -> list[str]:
    """Return the scores of an evaluation, and the path of its predictions."""
    metrics = _read_metrics(folder)
    lines = [f"{name:4}  P / R / F1 {figures(metrics, name)}" for name in SPLITS if name in metrics]
    for name, count in metrics["posts"].items():
        unlabelled = count - metrics.get("labelled", metrics["posts"])[name]
        if unlabelled:
            labels = _LABELS[metrics["task"]]
            lines.append(
                f"{name:4}  {unlabelled} of {count} posts have no {labels}: predicted, not scored"
            )
    return [*lines, f"predictions  {near(folder / 'predictions.jsonl')}"]


def _line(metrics: dict[str, Any]) -> str:
    epoch = "" if "runs" in metrics else f" (epoch {metrics['best_epoch']})"
    return (
        f"{_named(metrics['config']):12}  val F1 {figures(metrics, 'val', ['f1'])}{epoch}  "
        f"test P / R / F1 {figures(metrics, 'test')}"
    )


def _words(words: Mapping[str, Any] | None) -> list[str]:
    """Return a line on the vocabulary of a run on words. words: None for a run on word pieces."""
    if words is None:
        return []
    shares = {"without a vector": words["without_vector"], "unknown": words["unknown"]}
    parts = [words["vectors"] or "random"] + [
        f"{kind}: " + ", ".join(f"{split} {100 * share:.1f} %" for split, share in given.items())
        for kind, given in shares.items()
        if given
    ]
    return [f"{'word vectors':12}  {'; '.join(parts)}"]


def _named(config: Mapping[str, Any]) -> str:
    """Return the name of a run's system or variant, with what it reads beside the sentence."""
    system = config.get("system", HVPNET)
    name = str(config["variant"] if system == HVPNET else system)
    if not config.get("knowledge"):
        return name
    others = " of others" if config["shuffle_knowledge"] else ""
    return f"{name} + picture texts{others}"


def _style(config: Mapping[str, Any]) -> str:
    """Return a run's style; "" for another system than HVPNeT."""
    return str(config.get("style", PAPER)) if config.get("system", HVPNET) == HVPNET else ""


def _labels(metrics: dict[str, Any]) -> str:
    """Return the version of Twitter-2015's labels in a run; "" for other data sets."""
    if metrics["dataset"] != label_version.DATASET:
        return ""
    version = metrics.get("label_version", "labels unknown")  # the run is older than this entry
    return "original labels" if version == label_version.ORIGINAL else str(version)


def _read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = read_json(folder / "metrics.json")
    return metrics


def _seed(metrics: dict[str, Any]) -> str:
    return (
        f"mean of {len(metrics['runs'])}" if "runs" in metrics else str(metrics["config"]["seed"])
    )


def _f1_on_val(metrics: dict[str, Any]) -> float:
    return float(metrics.get("mean", metrics)["val"]["f1"])


def figures(metrics: Mapping[str, Any], split: str, names: Sequence[str] = PRF) -> str:
    """Return P / R / F1 of a run on a split, or their mean ± deviation over several seeds."""
    if "runs" in metrics:
        mean, deviation = metrics["mean"].get(split), metrics["deviation"].get(split)
        both = [f"{mean[n]:.2f} ± {deviation[n]:.2f}" for n in names] if mean else []
    else:
        both = [f"{metrics[split][n]:.2f}" for n in names] if split in metrics else []
    return " / ".join(both) or f"no {split} posts"


def summarise(runs: Sequence[Path], folder: Path, about: dict[str, Any]) -> None:
    """Write mean and deviation of runs that differ only in their seed to `folder/metrics.json`.

    The deviation is the sample standard deviation (n - 1), or 0 for a single run.
    """
    every = [_read_metrics(run) for run in dict.fromkeys(runs)]
    splits = [name for name in SPLITS if all(name in metrics for metrics in every)]
    first = every[0]
    table = {split: {n: [metrics[split][n] for metrics in every] for n in PRF} for split in splits}
    write_json(
        folder / "metrics.json",
        {
            "task": first["task"],
            **about,
            **{name: first[name] for name in ("label_version", "words") if name in first},
            "mean": _each(table, statistics.fmean),
            "deviation": _each(table, lambda x: statistics.stdev(x) if len(x) > 1 else 0.0),
            "runs": {
                metrics["config"]["seed"]: {
                    "fingerprint": metrics["fingerprint"],
                    "best_epoch": metrics["best_epoch"],
                    **{split: {n: metrics[split][n] for n in PRF} for split in splits},
                }
                for metrics in every
            },
            "config": {name: v for name, v in first["config"].items() if name != "seed"},
        },
    )


def _each(
    table: dict[str, dict[str, list[float]]], of: Callable[[list[float]], float]
) -> dict[str, dict[str, float]]:
    return {split: {n: of(x) for n, x in row.items()} for split, row in table.items()}


def metrics_of(model: Path) -> dict[str, Any]:
    """Return the `metrics.json` of the run that made a saved model; empty if there is none.

    Raises DataError if it can't be read.
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
            "the file, or move it away to use the model without it"
        ) from error
    return metrics if isinstance(metrics, dict) else {}


def precision_of(model: Path) -> str:
    """Return the precision that a saved model was trained in; float32 without `metrics.json`."""
    return str(metrics_of(model).get("config", {}).get("precision", FLOAT32))


def needs_pictures(model: Path) -> bool:
    """Return True if a saved model reads pyramids. Raises DataError if there is no model."""
    return bool(_config_of(model)["variant"] != TEXT_ONLY)


def needs_texts(model: Path) -> bool:
    """Return True if a saved model reads picture texts. Raises DataError if there is no model."""
    return bool(_config_of(model).get("knowledge_tokens"))


def _config_of(model: Path) -> dict[str, Any]:
    """Return a saved model's configuration. Raises DataError if it names no variant."""
    need_readable(model / "config.json")
    try:
        config: dict[str, Any] = read_json(model / "config.json")
        config["variant"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{model}: expected a model folder made by training or ImportReleased, found no "
            "config.json that names a variant"
        ) from error
    return config
