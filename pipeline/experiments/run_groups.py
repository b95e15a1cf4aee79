"""The training runs in a store: groups that differ only in their seed, and unusable outputs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.hvpnet.variants import HVPNET
from pipeline.corpus.config import EASY
from pipeline.engine.digests import Digests
from pipeline.engine.outputs import damage, folders, partials, read_manifest
from pipeline.experiments.published import title_of
from pipeline.experiments.runs import TrainedRun
from pipeline.training.config import TrainConfig

TRAININGS = ("TrainRE", "TrainNER")
# Settings of other stages that a group's name may tell.
_SHOWN = {
    "GroundCrops": ("grounder", "phrases", "max_crops"),
    "ExtractPyramid": ("backbone", "weights", "grid", "pooling", "resize", "size"),
}
# The name of a group opens with its variant or system.
_NOT_SHOWN = ("variant", "system", "seed", "evaluate_from")


@dataclass(frozen=True)
class Group:
    """Finished runs that differ only in their seed.

    name: what tells the group from the others of its data set and task.
    runs: by seed. seconds: that each run took.
    """

    dataset: str
    task: str
    name: str
    runs: Mapping[int, TrainedRun]
    seconds: Mapping[int, float]

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the runs; the seed is that of the first."""
        return config_of(next(iter(self.runs.values())).metrics)


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
    config = {name: value for name, value in config_of(metrics).items() if name != "seed"}
    keys = [key for key in metrics["keys"] if key["stage"] not in TRAININGS]
    return json.dumps([config, keys, metrics.get("label_version")], sort_keys=True)


def config_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings; those that are younger than the run have their defaults.

    `start_from` is the data set and task of the run that it started from, instead of its folder.
    """
    config = {**asdict(TrainConfig()), **metrics["config"]}
    start = metrics.get("start")
    return {**config, "start_from": start and f"{start['dataset']} ({start['task']})"}


def _named(
    dataset: str, task: str, runs_of: Mapping[str, Mapping[int, tuple[TrainedRun, float]]]
) -> list[Group]:
    every = [_settings(next(iter(runs.values()))[0].metrics) for runs in runs_of.values()]
    names = [*dict.fromkeys(name for settings in every for name in settings)]
    groups: list[Group] = []
    for settings, runs in zip(every, runs_of.values(), strict=True):
        # Each system has its own settings, so compare the runs of one system only.
        system = settings["system"]
        same = [other for other in every if other["system"] == system]
        rest = [
            f"{name.replace('_', ' ')} {settings[name]}"
            for name in names
            if name not in _NOT_SHOWN and settings.get(name) is not None and _differs(name, same)
        ]
        kind = settings["variant"] if system == HVPNET else title_of(system)
        name = ", ".join([kind, *rest])
        taken = sum(group.name.partition(" #")[0] == name for group in groups)
        groups.append(
            Group(
                dataset,
                task,
                f"{name} #{taken + 1}" if taken else name,
                {seed: runs[seed][0] for seed in sorted(runs)},
                {seed: runs[seed][1] for seed in sorted(runs)},
            )
        )
    return sorted(groups, key=lambda group: group.name)


def _differs(name: str, every: Sequence[Mapping[str, Any]]) -> bool:
    """Return True if a setting differs among the runs that have it."""
    return len({json.dumps(settings[name]) for settings in every if name in settings}) > 1


def _settings(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that may tell groups apart; those of crops and pyramids if it has any."""
    settings = {key["stage"]: key["settings"] for key in metrics["keys"]}
    named = {**config_of(metrics), "labels": metrics.get("label_version")}
    for stage, names in _SHOWN.items():
        if stage in settings:
            named |= {name: settings[stage].get(name) for name in names}
    if "MakeDemo" in settings:
        named["demo"] = settings["MakeDemo"].get("difficulty", EASY)
    return named


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
