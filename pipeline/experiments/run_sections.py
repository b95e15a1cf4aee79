"""Sections of the report about training runs: scores, curves, confusion, calibration, inputs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from pipeline.corpus.labels import NO_RELATION
from pipeline.experiments.markup import details, figure, floats, notes, table
from pipeline.experiments.rows import deviation, per_class
from pipeline.experiments.run_groups import Group, config_of
from pipeline.experiments.runs import PREDICTIONS, TrainedRun, lines_of
from pipeline.experiments.table1 import by_class
from pipeline.pages.charts import Point, confusion_chart, curves_chart, reliability_chart
from pipeline.training.possible import PREDICTED
from pipeline.training.results import PRF

FEW = 10  # curves in one chart: as many as there are colours
Charts = dict[str, str]  # file name -> SVG


def runs_section(dataset: str, task: str, groups: Sequence[Group], charts: Charts) -> str:
    """Return the HTML about all runs of one data set and task; adds its charts to `charts`."""
    plain = [group for group in groups if _is_plain(group)]
    whole = plain[:FEW]
    title = f"{dataset}, {PREDICTED[task]}"
    name = f"{dataset}-{task}"
    parts = [f"<h2>All runs: {escape(title)}</h2>", _scores(groups)]
    if len(plain) > FEW:
        parts.append(notes([f"Shown below are the first {FEW} of {len(plain)} groups."]))
    if whole:
        charts[f"learning-{name}.svg"] = learning(title, whole)
        parts.append(figure(charts[f"learning-{name}.svg"], "Mean over seeds, ± one deviation."))
        charts[f"calibration-{name}.svg"] = calibration(title, whole)
        parts.append(figure(charts[f"calibration-{name}.svg"], CALIBRATION))
        parts.append(by_class([_classes(group) for group in whole]))
    if task == "re":
        for number, group in enumerate(whole):
            file = f"confusion-{name}-{number}.svg"
            charts[file] = confusion(group)
            parts.append(details(f"Confusion of relations: {group.name}", figure(charts[file])))
    parts += [details("Settings, inputs and times of each run", _inputs(groups))]
    return "".join(parts)


CALIBRATION = (
    "Share of correct predictions by score, over all seeds; on the diagonal, scores are "
    "probabilities."
)


def _classes(group: Group) -> dict[str, Any]:
    runs = [*group.runs.values()]
    classes = per_class([run.metrics[split_of(run)]["per_class"] for run in runs])
    return {"name": group.name, "per_class": classes}


def _is_plain(group: Group) -> bool:
    """Return True if a group was trained on all posts, and not started from another run."""
    config = group.config
    drawn = config["train_share"] < 1 or config["with_replacement"]
    return not drawn and config["start_from"] is None


def split_of(run: TrainedRun) -> str:
    """Return the split that a run is compared on."""
    return "test" if "test" in run.metrics else "val"


def _scores(groups: Sequence[Group]) -> str:
    cells = []
    for group in groups:
        runs = [*group.runs.values()]
        split = split_of(runs[0])
        values = {n: [run.metrics[split][n] for run in runs] for n in PRF}
        own = [floats(statistics.fmean(x), deviation(x)) for x in values.values()]
        val = [run.metrics["val"]["f1"] for run in runs]
        error = [run.metrics[split].get("calibration", {}).get("error") for run in runs]
        known = [e for e in error if e is not None]
        cells.append(
            [
                group.name,
                ", ".join(map(str, group.runs)),
                split,
                *own,
                floats(statistics.fmean(val), deviation(val)),
                f"{statistics.fmean(known):.3f}" if known else "",
                f"{statistics.fmean(group.seconds.values()):.0f} s",
            ]
        )
    head = ["measured", "seeds", "split", "P", "R", "F1", "F1 on val", "calibration error", "time"]
    return table(head, cells, "Mean ± sample deviation over seeds.")


def learning(title: str, groups: Sequence[Group]) -> str:
    """Draw F1 on val by epoch, mean and deviation over seeds."""
    curves: dict[str, list[Point]] = {}
    for group in groups:
        by_epoch: dict[int, list[float]] = {}
        for run in group.runs.values():
            for entry in run.metrics["epochs"]:
                by_epoch.setdefault(entry["epoch"], []).append(entry["f1"])
        curves[group.name] = [
            (epoch, statistics.fmean(values), deviation(values))
            for epoch, values in sorted(by_epoch.items())
        ]
    return curves_chart(f"{title}: F1 on val by epoch", "epoch", curves)


def calibration(title: str, groups: Sequence[Group]) -> str:
    """Draw accuracy by confidence, over the predictions of all seeds."""
    curves = {}
    for group in groups:
        bins = [run.metrics[split_of(run)].get("calibration") for run in group.runs.values()]
        curves[group.name] = merged_bins([found["bins"] for found in bins if found])
    return reliability_chart(f"{title}: calibration", curves)


def merged_bins(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[float, float]]:
    """Return (mean confidence, accuracy) of each bin that has predictions, over several runs."""
    points = []
    for same in zip(*runs, strict=True):
        total = sum(entry["count"] for entry in same)
        if total:
            filled = [entry for entry in same if entry["count"]]
            points.append(
                (
                    sum(e["confidence"] * e["count"] for e in filled) / total,
                    sum(e["accuracy"] * e["count"] for e in filled) / total,
                )
            )
    return points


def confusion(group: Group) -> str:
    """Draw gold against predicted relations, counted over all seeds, as shares of the gold ones."""
    labels, counts = confusion_counts([*group.runs.values()])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return confusion_chart(
        f"{group.name}: gold (rows), predicted (columns)", labels, shares, counts
    )


def confusion_counts(runs: Sequence[TrainedRun]) -> tuple[list[str], np.ndarray]:
    """Return the relations that occur, None first, and counts (gold, predicted) over runs."""
    pairs: list[tuple[str, str]] = []
    for run in runs:
        for line in lines_of(run.folder / PREDICTIONS, split_of(run)):
            if line.get("relation") is not None:
                pairs.append((line["relation"], line["predicted_relation"]))
    names = {name for pair in pairs for name in pair}
    labels = [NO_RELATION] * (NO_RELATION in names) + sorted(names - {NO_RELATION})
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for gold, predicted in pairs:
        counts[labels.index(gold), labels.index(predicted)] += 1
    return labels, counts


def _inputs(groups: Sequence[Group]) -> str:
    return "".join(
        f"<h3>{escape(group.name)}, seed {seed}</h3>{_run(run, group.seconds[seed])}"
        for group in groups
        for seed, run in group.runs.items()
    )


def _run(run: TrainedRun, seconds: float) -> str:
    metrics = run.metrics
    digests = {
        f"{key['stage']}: {name}": digest
        for key in metrics["keys"]
        for name, digest in key["sources"].items()
    }
    shown = [*digests.items()][:FEW]
    entries = {
        "run": run.short,
        "best epoch": f"{metrics['best_epoch']} of {metrics['config']['epochs']}",
        "time": f"{seconds:.0f} s",
        "posts": _words(metrics["posts"]),
        "crops": _words(metrics.get("crops", {})) or "none",
        "labels": metrics.get("label_version") or "as in the data",
        "settings": _words(config_of(metrics)),
        "versions": _words(metrics["versions"]),
        "weights": json.dumps(metrics.get("weights") or {}),
        "digests of files": f"{len(digests)}: " + "; ".join(f"{n} {d[:16]}" for n, d in shown),
    }
    return table(["", ""], [[name, str(value)] for name, value in entries.items()], "").replace(
        'class="rows"', 'class="rows about"'
    )


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
