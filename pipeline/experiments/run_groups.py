"""The training runs in a store: groups that differ only in their seed, and what is missing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.corpus.config import EASY
from pipeline.engine.digests import Digests
from pipeline.engine.outputs import damage, folders, partials, read_manifest
from pipeline.experiments.runs import TrainedRun

TRAININGS = ("TrainRE", "TrainNER")
_NOT_SHOWN = ("variant", "seed", "evaluate_from")  # the name of a group opens with its variant


@dataclass(frozen=True)
class Group:
    """Finished runs that differ only in their seed.

    name: what tells the group from the others of its data set and task.
    runs: by seed. seconds: that each run took.
    missing: seeds that other groups of the data set and task have.
    """

    dataset: str
    task: str
    name: str
    runs: Mapping[int, TrainedRun]
    seconds: Mapping[int, float]
    missing: Sequence[int]

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the runs; the seed is that of the first."""
        config: dict[str, Any] = next(iter(self.runs.values())).metrics["config"]
        return config


def run_groups(store: Path, datasets: Sequence[str], digests: Digests) -> list[Group]:
    """Return the finished, undamaged runs on some data sets, in groups.

    Runs are in one group if all settings but the seed are equal, and so are the posts, pyramids and
    label version that they were trained on.
    """
    found: dict[tuple[str, str], dict[str, dict[int, tuple[TrainedRun, float]]]] = {}
    for folder in (f for stage in TRAININGS for f in folders(store, stage)):
        if damage(folder, digests) is not None:
            continue
        run = TrainedRun(folder, folder.name, Path(), Path(), None)
        if run.metrics["dataset"] not in datasets or "runs" in run.metrics:
            continue
        of = (run.metrics["dataset"], run.task)
        seed = run.metrics["config"]["seed"]
        manifest = read_manifest(folder) or {}
        runs = found.setdefault(of, {}).setdefault(_identity(run.metrics), {})
        runs[seed] = (run, float(manifest.get("seconds", 0)))
    return [group for of, runs in sorted(found.items()) for group in _named(*of, runs)]


def _identity(metrics: Mapping[str, Any]) -> str:
    """Return all that decides a run but its seed."""
    config = {name: value for name, value in metrics["config"].items() if name != "seed"}
    keys = [key for key in metrics["keys"] if key["stage"] not in TRAININGS]
    start = [key["sources"] for key in metrics["keys"] if key["stage"] in TRAININGS]
    return json.dumps([config, keys, start, metrics.get("label_version")], sort_keys=True)


def _named(
    dataset: str, task: str, found: Mapping[str, Mapping[int, tuple[TrainedRun, float]]]
) -> list[Group]:
    seeds = {seed for runs in found.values() for seed in runs}
    configs = [_settings(next(iter(runs.values()))[0].metrics) for runs in found.values()]
    names = [*dict.fromkeys(name for config in configs for name in config)]
    differing = [
        name
        for name in names
        if name not in _NOT_SHOWN
        and len({json.dumps(c[name]) for c in configs if c.get(name) is not None}) > 1
    ]
    groups = []
    for config, runs in zip(configs, found.values(), strict=True):
        rest = [
            f"{name.replace('_', ' ')} {config[name]}"
            for name in differing
            if config.get(name) is not None
        ]
        groups.append(
            Group(
                dataset,
                task,
                ", ".join([config["variant"], *rest]),
                {seed: runs[seed][0] for seed in sorted(runs)},
                {seed: runs[seed][1] for seed in sorted(runs)},
                sorted(seeds - runs.keys()),
            )
        )
    return sorted(groups, key=lambda group: group.name)


def _settings(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that may tell groups apart, with crops and label version."""
    settings = {key["stage"]: key["settings"] for key in metrics["keys"]}
    crops, demo = settings.get("GroundCrops", {}), settings.get("MakeDemo")
    return {
        **metrics["config"],
        "grounder": crops.get("grounder"),
        "phrases": crops.get("phrases"),
        "labels": metrics.get("label_version"),
        "demo": None if demo is None else demo.get("difficulty", EASY),
    }


def unusable(
    store: Path, stages: Sequence[str], datasets: Sequence[str], digests: Digests
) -> list[str]:
    """Return a line for each output of some stages that is damaged or not finished."""
    lines = []
    for stage in stages:
        for folder in folders(store, stage):
            reason = damage(folder, digests) if _is_of(folder, datasets) else None
            if reason is not None:
                lines.append(f"{stage}/{folder.name}: damaged ({reason})")
        for final in partials(store, stage).values():
            if _is_of(final, datasets):
                lines.append(f"{stage}/{final.name}: not finished; it is running, or it failed")
    return lines


def _is_of(folder: Path, datasets: Sequence[str]) -> bool:
    return folder.name.rsplit("-", 1)[0] in datasets
