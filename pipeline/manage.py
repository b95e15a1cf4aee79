"""What people ask about the store: what is stale and why, and what can go."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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
    partial_of,
    read_manifest,
    store_root,
    upstream,
)

RUNS = ("TrainRE", "TrainNER")
INDEXED = "ExtractPyramid"  # the stage whose outputs refer to rows
# What people asked for by its own parameters.
RESULTS = (*RUNS, "Evaluate", "ImportReleased", "ShowCrops", "WriteCrops", "EvaluateGrounding")


# --- Status


def status(stages: Iterable[Stage]) -> list[str]:
    """A line a stage: fresh, or stale and why."""
    return [f"{type(stage).__name__} is {_state(stage)}" for stage in stages]


def _state(stage: Stage) -> str:
    try:
        reason = damage(stage.folder)
    except (ValueError, OSError) as error:  # the data set isn't there, or can't be read
        return f"stale: {error}"
    if reason is None:
        return f"{FRESH}: {stage.folder}"
    if not stage.folder.exists():
        last = _last_key(stage)
        reason = "never made" if last is None else "; ".join(changes(last, stage.key))
    return f"stale: {reason}{_begun(stage)}"


def _begun(stage: Stage) -> str:
    """Whether a run is making it, or one was and ended before its time."""
    if in_use(lock_name(stage.folder)):
        return " (a run is making it)"
    if partial_of(stage.folder).exists():
        return " (a run was interrupted; what it finished is kept)"
    return ""


def _last_key(stage: Stage) -> dict[str, Any] | None:
    """The key of an output of the same stage and data set: the nearest, of several the newest."""
    manifests = [read_manifest(folder) for folder in folders(type(stage).__name__)]
    same = [m for m in manifests if m is not None and _alike(m["key"], stage.key)]
    same.sort(key=lambda m: m["made"], reverse=True)
    nearest = min(same, key=lambda m: len(changes(m["key"], stage.key)), default=None)
    return None if nearest is None else nearest["key"]


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

    stages_of: the present configuration's stages of a data set. runs: whether results that it
    doesn't name go too: training runs, evaluations, imports, pages, written crops.
    Nothing is removed of a data set that can't be found. Returns a line for each folder or file,
    and one with the space.
    """
    lines: list[str] = []
    doomed: list[Path] = []
    needed: set[Path] = set()  # folders of rows that a stage is still to finish
    for dataset in datasets():
        stages = stages_of(dataset)
        names = list(dict.fromkeys([*(type(stage).__name__ for stage in stages), *RESULTS]))
        whole = {f: f for name in names for f in folders(name) if _dataset(f) == dataset}
        try:
            present = [one for stage in stages for one in upstream(stage)]
            named = {one.folder for one in present}
            named |= {parent for path in _read_by(stages) for parent in path.parents}
        except ValueError as error:
            lines.append(f"{dataset}: nothing removed ({error})")
            if not all(map(_knows_its_rows, [*whole, *_partials(names, dataset)])):
                needed |= _all_rows()
            continue
        partials = _partials(names, dataset)  # after what may have taken long
        needed |= {rows for one in present if (rows := one.fills()) and damage(one.folder)}
        if any(in_use(lock_name(becomes)) for becomes in partials.values()):
            lines.append(f"{dataset}: nothing removed (a run is under way)")
            continue
        for folder, becomes in (whole | partials).items():
            if becomes not in named and (runs or folder.parent.name not in RESULTS):
                doomed.append(folder)
    freed = sum(_remove(path, dry_run, lines) for path in doomed)
    for rows in sorted(_all_rows()):
        if rows in needed or in_use(rows.name):
            lines.append(f"{rows.relative_to(store_root())}: nothing removed (not yet finished)")
        elif dry_run:
            freed += sum(_remove(file, dry_run, lines) for file in _unused(rows, set(doomed)))
        else:
            with locked(rows.name, "filling rows"):  # rows just written have no index yet
                freed += sum(_remove(file, dry_run, lines) for file in _unused(rows, set(doomed)))
    return [*lines, f"{'would free' if dry_run else 'freed'} {freed / 1e6:.1f} MB"]


def _all_rows() -> set[Path]:
    return {path for path in (store_root() / PYRAMIDS).glob("*") if path.is_dir()}


def _knows_its_rows(folder: Path) -> bool:
    """False of an extraction that isn't whole: rows may be there that no manifest tells of."""
    return folder.parent.name != INDEXED or read_manifest(folder) is not None


def _read_by(stages: Iterable[Stage]) -> list[Path]:
    """Files and folders that the present configuration reads; some are in the store."""
    return [path.absolute() for stage in stages for path in stage.sources().values()]


def _dataset(folder: Path) -> str:
    return folder.name.rsplit("-", 1)[0]


def datasets() -> list[str]:
    """The data sets that the store holds something of."""
    return sorted({_dataset(folder) for folder in folders("ReadPosts")})


def _partials(stages: Iterable[str], dataset: str) -> dict[Path, Path]:
    """Folders that are not whole, of runs under way or ended -> what each is to become."""
    hidden = [f for stage in stages for f in sorted(outputs(stage).glob(PARTIAL.format("*")))]
    names = [f.name.removeprefix(".").removesuffix(".partial") for f in hidden]
    both = [(f, f.with_name(name)) for f, name in zip(hidden, names, strict=True)]
    return {partial: whole for partial, whole in both if _dataset(whole) == dataset}


def _unused(rows: Path, gone: set[Path]) -> list[Path]:
    """Files in `rows` that no index refers to, once the folders `gone` are."""
    used: set[str] = set()
    for folder in folders(INDEXED):
        manifest = read_manifest(folder)
        if folder not in gone and manifest is not None:
            here = os.path.relpath(rows, folder) + os.sep
            used |= {name.removeprefix(here) for name in manifest["files"]}
    return [file for file in sorted(rows.iterdir()) if file.name not in used]


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


def folders(stage: str) -> list[Path]:
    """All whole output folders of a stage."""
    return sorted(manifest.parent for manifest in outputs(stage).glob(f"[!.]*/{MANIFEST}"))
