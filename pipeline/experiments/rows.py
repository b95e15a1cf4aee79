"""Rows of a table of scores: mean and deviation over seeds, intervals over posts, controls."""

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.hvpnet.variants import TEXT_ONLY
from pipeline.engine.files import read_json
from pipeline.errors import DataError
from pipeline.experiments.published import note_of
from pipeline.experiments.runs import (
    CONTROLS,
    NO_PICTURE,
    NO_TEXT,
    OTHERS,
    PREDICTIONS,
    SHUFFLED,
    SHUFFLED_TEXT,
    Counts,
    TrainedRun,
    counts_of,
    name_of,
)
from pipeline.experiments.significance import LEVEL, Bootstrap, Interval
from pipeline.grounding.phrases import ENTITIES_LEAKED
from pipeline.training.results import PRF

# A control -> what is given to the model, and what the model may use.
CONTROLLED = {
    SHUFFLED: ("with another post's pictures", "its pictures"),
    NO_PICTURE: ("without any picture", "its pictures"),
    SHUFFLED_TEXT: ("with another post's picture text", "its picture texts"),
    NO_TEXT: ("without picture texts", "its picture texts"),
}
WITHOUT_TEXTS = "without picture texts"  # the same training without them
ON_OTHERS = "trained on other posts' texts"  # the same training on other posts' picture texts
SYSTEM = "system"  # the text-only row, for a row of another system than HVPNeT
CROPS = "crops "  # a row that differs in its crops alone
ALONE = "alone"  # the same training with the same settings, not started from another run


@dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed.

    fields: what tells the row from others: variant, style, crops, share, and the like; `system` if
        that is not HVPNeT.
    runs: finished runs, by seed.
    controls: outputs of Controls, a folder for each run; empty for a row without any.
    alone: fields of the row of the same data set and task that was not started from another run.
    """

    dataset: str
    task: str
    fields: Mapping[str, Any]
    runs: Mapping[int, TrainedRun]
    controls: Sequence[Path] = ()
    alone: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The row's name: its fields, without those that are None."""
        return name_of(self.fields)

    @property
    def is_text_only(self) -> bool:
        """True if the row's runs use no pictures."""
        return bool(self.fields.get("variant") == TEXT_ONLY)

    @property
    def system(self) -> str | None:
        """The system of the row's runs; None for HVPNeT."""
        system: str | None = self.fields.get("system")
        return system


@dataclass
class _Group:
    """All predictions to compare on one split: names of (row, control) -> places in `counts`."""

    split: str
    counts: list[Counts] = field(default_factory=list)
    places: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: int, control: str, file: Path) -> None:
        counts = counts_of(file, self.split)
        if self.counts and counts.ids != self.counts[0].ids:
            raise DataError(
                f"{file}: expected predictions of the same {self.split} posts as the other runs "
                f"({len(self.counts[0].ids)}), found other posts ({len(counts.ids)})"
            )
        self.places[row, control].append(len(self.counts))
        self.counts.append(counts)


def score_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each row's figures in JSON types.

    Rows of one data set and task are compared with each other on its test posts (val, if there is
    no test): the intervals hold 95 % of 10,000 draws of posts, the same draws for all.

    Entries: `split`; `seeds`: figures of each run; `mean` and `deviation` (sample, n - 1; None for
    one seed) of P, R and F1 on val and test; `interval` of the mean F1; `per_class`; `controls`:
    the same figures under each control; `differences`: F1 minus that of the text-only row, and of
    each control; `words`: what these say.

    Raises DataError if runs of one data set were scored on other posts.
    """
    scored: dict[int, dict[str, Any]] = {}
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row.dataset, row.task].append(number)
    for numbers in groups.values():
        scored |= _score_group({number: rows[number] for number in numbers})
    return [scored[number] for number in range(len(rows))]


def _score_group(rows: Mapping[int, Row]) -> dict[int, dict[str, Any]]:
    every = [run for row in rows.values() for run in row.runs.values()]
    split = "test" if all("test" in run.metrics for run in every) else "val"
    group = _Group(split)
    for number, row in rows.items():
        for run in row.runs.values():
            group.add(number, "", run.folder / PREDICTIONS)
        for folder in row.controls:
            for control in controls_of(folder):
                group.add(number, control, folder / control / PREDICTIONS)
    bootstrap = Bootstrap(np.stack([counts.figures for counts in group.counts]))
    return {
        number: _figures(row, number, _compared(number, rows), group, bootstrap)
        for number, row in rows.items()
    }


def controls_of(folder: Path) -> list[str]:
    """Return the names of the controls in an output of Controls."""
    return [name for name in CONTROLS if (folder / name).is_dir()]


def _compared(number: int, rows: Mapping[int, Row]) -> dict[str, tuple[int, str]]:
    """Return what a row is compared with: name -> number of a row, and a control or ""."""
    row = rows[number]

    def rest(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {n: v for n, v in fields.items() if n not in ("variant", "crops", "system")}

    compared = {}
    for other, candidate in rows.items():
        is_text_only = candidate.is_text_only and candidate.system is None
        if is_text_only and other != number and rest(candidate.fields) == rest(row.fields):
            compared[TEXT_ONLY] = (other, "")
        if candidate.fields == row.alone:
            compared[ALONE] = (other, "")
        if knowledge := row.fields.get("knowledge"):
            if candidate.fields == {**row.fields, "knowledge": None}:
                compared[WITHOUT_TEXTS] = (other, "")
            if candidate.fields == {**row.fields, "knowledge": f"{OTHERS}{knowledge}"}:
                compared[ON_OTHERS] = (other, "")
        crops = (crops_of(candidate), crops_of(row))
        alike = {**candidate.fields, "crops": crops[1]} == row.fields
        if other < number and alike and None not in crops:
            compared[f"{CROPS}{crops[0]}"] = (other, "")
    controls = controls_of(row.controls[0]) if row.controls else []
    return compared | {control: (number, control) for control in controls}


def crops_of(row: Row) -> str | None:
    """Return the phrases that chose a row's crops, if the table has rows for several."""
    crops: str | None = row.fields.get("crops")
    return crops


def _figures(
    row: Row,
    number: int,
    compared: Mapping[str, tuple[int, str]],
    group: _Group,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    own, split = group.places[number, ""], group.split
    metrics = [run.metrics for run in row.runs.values()]
    differences = {
        name: bootstrap.difference(own, group.places[place]) for name, place in compared.items()
    }
    return {
        "dataset": row.dataset,
        "task": row.task,
        "name": row.name,
        "title": next(iter(row.runs.values())).title,
        "about": next(iter(row.runs.values())).about,
        "fields": dict(row.fields),
        "split": split,
        "posts": len(group.counts[0].ids),
        "seeds": {seed: _seed(run) for seed, run in row.runs.items()},
        **_over_seeds(metrics, [name for name in ("val", "test") if name in metrics[0]]),
        "interval": asdict(bootstrap.mean(own)),
        "per_class": per_class([m[split]["per_class"] for m in metrics]),
        "controls": _controls(row, split),
        "differences": {name: asdict(interval) for name, interval in differences.items()},
        "words": _words(row, differences),
    }


def _words(row: Row, differences: Mapping[str, Interval]) -> list[str]:
    words = [
        sentence(row.name, SYSTEM if row.system and name == TEXT_ONLY else name, difference)
        for name, difference in differences.items()
    ]
    if row.system and (note := note_of(row.system, row.task)):
        words.append(f"{row.name}: {note}")
    if row.fields.get("crops") == ENTITIES_LEAKED:
        words.append(
            f"{row.name}: its crops show the entities asked about, which leaks part of the answer: "
            "don't compare its scores with others"
        )
    if not row.controls and (row.fields.get("knowledge") or "").startswith(OTHERS):
        words.append(f"{row.name}: no controls, as it is one")
    elif not row.controls and not row.is_text_only:
        words.append(f"{row.name}: no controls, as a fine-tuned backbone makes its own pyramids")
    return words


def _seed(run: TrainedRun) -> dict[str, Any]:
    metrics = run.metrics
    return {
        "run": run.short,
        "best_epoch": metrics["best_epoch"],
        **{name: prf_of(metrics[name]) for name in ("val", "test") if name in metrics},
    }


def prf_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return precision, recall and F1 alone."""
    return {name: figures[name] for name in PRF}


def _over_seeds(metrics: Sequence[Mapping[str, Any]], splits: Iterable[str]) -> dict[str, Any]:
    """Return mean and deviation of P, R and F1 on each split, over the runs' metrics."""
    values = {s: {n: [m[s][n] for m in metrics] for n in PRF} for s in splits}
    return {
        "mean": {s: {n: statistics.fmean(x) for n, x in row.items()} for s, row in values.items()},
        "deviation": {s: {n: deviation(x) for n, x in row.items()} for s, row in values.items()},
    }


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1); None for one value."""
    return statistics.stdev(values) if len(values) > 1 else None


def per_class(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return for each class its support, and mean and deviation of its figures over the runs.

    A class that no run predicts and no post has in one run only counts as 0 there.
    """
    table = {}
    for name in sorted({name for run in runs for name in run}):
        values = {n: [run.get(name, {}).get(n, 0.0) for run in runs] for n in PRF}
        table[name] = {
            "support": max(run.get(name, {}).get("support", 0) for run in runs),
            "mean": {n: statistics.fmean(x) for n, x in values.items()},
            "deviation": {n: deviation(x) for n, x in values.items()},
        }
    return table


def _controls(row: Row, split: str) -> dict[str, Any]:
    """Return mean and deviation under each control, over seeds."""
    reports = [read_json(folder / "metrics.json") for folder in row.controls]
    found = {}
    for control in controls_of(row.controls[0]) if reports else ():
        over = _over_seeds([{split: report[control]} for report in reports], [split])
        found[control] = {name: over[name][split] for name in over}
    return found


def sentence(name: str, other: str, difference: Interval) -> str:
    """Say in words what a row's difference of F1 to another shows.

    other: "text-only", SYSTEM, "alone", "crops …", WITHOUT_TEXTS, ON_OTHERS, or a control.
    """
    is_control = other in CONTROLLED
    sign = -1 if is_control else 1
    value, *ends = (
        round(sign * x, 2) + 0.0 for x in (difference.value, difference.low, difference.high)
    )
    low, high = sorted(ends)
    gain = f"{value:+.2f} F1, {LEVEL} % interval {low:+.2f} to {high:+.2f}"
    if is_control:
        given, used = CONTROLLED[other]
        uses = f"it uses {used}" if high < 0 else f"not shown to use {used}"
        return f"{name}, {given}: {gain}: {uses}"
    shown = "shown to help" if low > 0 else "not shown to help"
    shown = "shown to harm" if high < 0 else shown
    if other.startswith(CROPS):
        return f"{name}: its crops add {gain} to those by {other.removeprefix(CROPS)}: {shown}"
    if other == ON_OTHERS:
        return f"{name}: its own picture texts add {gain} to training on those of others: {shown}"
    what = {
        TEXT_ONLY: "pictures add",
        SYSTEM: "over text-only the system adds",
        ALONE: "the first training adds",
        WITHOUT_TEXTS: "picture texts add",
    }[other]
    return f"{name}: {what} {gain}: {shown}"


def grouped(scored: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return scored rows by data set and task."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in scored:
        groups.setdefault((row["dataset"], row["task"]), []).append(row)
    return groups


def write_csv(
    file: Path, scored: Sequence[Mapping[str, Any]], cited: Sequence[Mapping[str, Any]]
) -> None:
    """Write a line for each seed, mean, deviation and control of each row, and each cited row."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["source", "dataset", "task", "system", "pictures", "seed", "split", *PRF])
        for row in scored:
            own = [row["dataset"], row["task"], row["name"]]
            for seed, figures in row["seeds"].items():
                for split in row["mean"]:
                    line = ["measured", *own, "own", seed, split]
                    writer.writerow([*line, *figures[split].values()])
            for kind in ("mean", "deviation"):
                for split, figures in row[kind].items():
                    writer.writerow(["measured", *own, "own", kind, split, *figures.values()])
                for control, figures in row["controls"].items():
                    line = ["measured", *own, control, kind, row["split"]]
                    writer.writerow([*line, *figures[kind].values()])
        for row in cited:
            own = [row["dataset"], "", row["system"], "", "mean", "test"]
            writer.writerow(["cited", *own, *(row[name] for name in PRF)])
