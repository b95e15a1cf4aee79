"""What people ask about the store: what is stale and why, what can go, what the runs scored."""

import logging
import shutil
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.corpus import SPLITS, DataError
from pipeline.jsonfile import read_json, write_json
from pipeline.presets import RECIPES, TEXT_ONLY, train_preset
from pipeline.stage import (
    FRESH,
    MANIFEST,
    PARTIAL,
    PYRAMIDS,
    Stage,
    damage,
    in_use,
    lock_name,
    locked,
    outputs,
    read_manifest,
    store_root,
)

log = logging.getLogger(__name__)

RUNS = ("TrainRE", "TrainNER")
RESULTS = (*RUNS, "Evaluate", "ImportReleased")  # what people asked for by its own parameters
PRF = ("precision", "recall", "f1")


# --- Status


def status(stages: Iterable[Stage]) -> list[str]:
    """A line a stage: fresh, or stale and why."""
    return [f"{type(stage).__name__} is {_state(stage)}" for stage in stages]


def _state(stage: Stage) -> str:
    try:
        reason = damage(stage.folder)
    except ValueError as error:  # the data set isn't there
        return f"stale: {error}"
    if reason is None:
        return f"{FRESH}: {stage.folder}"
    if stage.folder.exists():
        return f"stale: {reason}"
    last = _last_key(stage)
    return "stale: never made" if last is None else f"stale: {'; '.join(changes(last, stage.key))}"


def _last_key(stage: Stage) -> dict[str, Any] | None:
    """The key of the newest output of the same stage and data set."""
    manifests = [read_manifest(folder) for folder in _folders(type(stage).__name__)]
    same = [m for m in manifests if m is not None and _alike(m["key"], stage.key)]
    return max(same, key=lambda m: m["made"])["key"] if same else None


def _alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two keys are of one data set, and both of one run or both of several seeds."""
    of_several = ["seeds" in key["settings"] for key in (a, b)]
    return bool(a["dataset"] == b["dataset"]) and of_several[0] == of_several[1]


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two keys, in words."""
    found = []
    for part in ("version", "settings", "sources", "requires"):
        old, new = _flat(before[part], part), _flat(after[part], part)
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) == new.get(name):
                continue
            if part == "requires":
                found.append(f"{name} changed")
            elif name not in old:
                found.append(f"{name} is new ({new[name]})")
            elif name not in new:
                found.append(f"{name} is gone (was {old[name]})")
            else:
                found.append(f"{name} {old[name]} → {new[name]}")
    return found


def _flat(value: Any, name: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else {name: value}


# --- Prune


def prune(stages_of: Callable[[str], list[Stage]], runs: bool, dry_run: bool) -> list[str]:
    """Remove outputs that no present configuration names, and rows that no index refers to.

    stages_of: the present configuration's stages of a data set. runs: whether training runs,
    evaluations and imports that it doesn't name go too; they are results, and cost the most.
    Nothing is removed of a data set that can't be found. Returns a line for each folder or file,
    and one with the space.
    """
    lines: list[str] = []
    doomed: list[Path] = []
    for dataset in datasets():
        stages = stages_of(dataset)
        names = list(dict.fromkeys([*(type(stage).__name__ for stage in stages), *RESULTS]))
        partials = {f: becomes for name in names for f, becomes in _partials(name, dataset)}
        try:
            named = {stage.folder for stage in stages}
        except ValueError as error:
            lines.append(f"{dataset}: nothing removed ({error})")
            continue
        if any(in_use(lock_name(becomes)) for becomes in partials.values()):
            lines.append(f"{dataset}: nothing removed (a run is under way)")
            continue
        whole = {f: f for name in names for f in _folders(name) if _dataset(f) == dataset}
        for folder, becomes in (whole | partials).items():
            if becomes not in named and (runs or folder.parent.name not in RESULTS):
                doomed.append(folder)
    freed = sum(_remove(path, dry_run, lines) for path in doomed)
    for rows in sorted((store_root() / PYRAMIDS).glob("*")):
        with locked(rows.name, "filling rows"):  # rows just written have no index yet
            used = _used_rows(rows, set(doomed))
            unused = [shard for shard in sorted(rows.glob("*.h5")) if shard.name not in used]
            freed += sum(_remove(shard, dry_run, lines) for shard in unused)
    return [*lines, f"{'would free' if dry_run else 'freed'} {freed / 1e6:.1f} MB"]


def _dataset(folder: Path) -> str:
    return folder.name.rsplit("-", 1)[0]


def datasets() -> list[str]:
    """The data sets that the store holds something of."""
    return sorted({_dataset(folder) for folder in _folders("ReadPosts")})


def _partials(stage: str, dataset: str) -> list[tuple[Path, Path]]:
    """Folders that are not whole, of runs under way or ended, each with what it is to become."""
    hidden = sorted(outputs(stage).glob(PARTIAL.format("*")))
    names = [f.name.removeprefix(".").removesuffix(".partial") for f in hidden]
    both = [(f, f.with_name(name)) for f, name in zip(hidden, names, strict=True)]
    return [(partial, whole) for partial, whole in both if _dataset(whole) == dataset]


def _used_rows(rows: Path, gone: set[Path]) -> set[str]:
    """Names of the shards in `rows` that an index refers to, once the folders `gone` are."""
    used: set[str] = set()
    for folder in _folders("ExtractPyramid"):
        if folder not in gone:
            about = read_json(folder / "pyramids.json")
            used |= set(about["shards"]) if about["rows"] == rows.name else set()
    return used


def _remove(path: Path, dry_run: bool, lines: list[str]) -> int:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    lines.append(f"{path.relative_to(store_root())}  {size / 1e6:.1f} MB")
    if not dry_run:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return size


# --- Scores


def scores(dataset: str | None) -> list[str]:
    """A table of all training runs, with pictures and without, the best on validation first."""
    rows = []
    for name in RUNS:
        for folder in _folders(name):
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
            f"{name:9}{found['dataset']:13}{config['variant']:13}{config['style']:9}"
            f"{_seed(found):>10}  {figures(found, 'val', ['f1']):>13}  {figures(found, 'test')}"
            f"   {where}"
        )
    return lines


def result(folder: Path, text_only: Path) -> list[str]:
    """A run's scores, beside those of the same run without pictures, and where its model is."""
    found = _read_metrics(folder)
    lines = [_line(found)]
    if folder != text_only:
        bare = _read_metrics(text_only) if damage(text_only) is None else None
        lines.append(
            _line(bare) if bare else f"{TEXT_ONLY:12}  not run; add --variant text-only to compare"
        )
    kind, where = ("summary", "metrics.json") if "runs" in found else ("model", "model")
    return [*lines, f"{kind:12}  {folder / where}"]


def evaluation(folder: Path) -> list[str]:
    """The scores of a saved model, and where its predictions are."""
    found = _read_metrics(folder)
    lines = [f"{name:4}  P / R / F1 {figures(found, name)}" for name in SPLITS if name in found]
    return [*lines, f"predictions  {folder / 'predictions.jsonl'}"]


def _line(found: dict[str, Any]) -> str:
    epoch = "" if "runs" in found else f" (epoch {found['best_epoch']})"
    return (
        f"{found['config']['variant']:12}  val F1 {figures(found, 'val', ['f1'])}{epoch}  "
        f"test P / R / F1 {figures(found, 'test')}"
    )


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
    figures = {
        split: {n: [one[split][n] for one in found.values()] for n in PRF} for split in splits
    }
    write_json(
        folder / "metrics.json",
        {
            "task": first["task"],
            **about,
            "mean": _each(figures, statistics.fmean),
            "deviation": _each(figures, lambda x: statistics.stdev(x) if len(x) > 1 else 0.0),
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
    figures: dict[str, dict[str, list[float]]], of: Callable[[list[float]], float]
) -> dict[str, dict[str, float]]:
    return {split: {n: of(x) for n, x in table.items()} for split, table in figures.items()}


# --- Recipes


def recipes(dataset: str, variant: str) -> list[str]:
    """Each setting of both training tasks in each recipe, and how to change one."""
    columns = [(task, recipe) for task in ("re", "ner") for recipe in RECIPES]
    values = [asdict(train_preset(task, dataset, recipe, variant)) for task, recipe in columns]
    names = {"re": "TrainRE", "ner": "TrainNER"}
    lines = [f"{dataset}, variant {variant}; choose with --recipe, change with the option's value"]
    lines.append(f"{'option':26}" + "".join(f"{names[t]:10}{r:10}" for t, r in columns))
    for name in values[0]:
        if name not in ("variant", "style"):  # these have options of their own
            row = "".join(f"{found[name]!s:20}" for found in values)
            lines.append(f"--{name.replace('_', '-'):24}{row}".rstrip())
    return lines


def needs_pictures(model: Path) -> bool:
    """Whether a saved model reads pyramids. Raises DataError where there is none."""
    try:
        return bool(read_json(model / "config.json")["variant"] != TEXT_ONLY)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{model}: expected a model folder of ours, found {error!r}") from error


def _folders(stage: str) -> list[Path]:
    """All whole output folders of a stage."""
    return sorted(manifest.parent for manifest in outputs(stage).glob(f"[!.]*/{MANIFEST}"))
