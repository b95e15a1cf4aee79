"""Prune: remove outputs that the current configuration does not name, and unused rows."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from pipeline.engine.files import size_of
from pipeline.engine.locks import in_use, lock_name, locked
from pipeline.engine.outputs import damage, folders, partials, read_manifest
from pipeline.engine.paths import paths
from pipeline.engine.stage import Stage, upstream
from pipeline.errors import FAMILY

Kinds = Sequence[type[Stage]]


def prune(
    place: paths,
    kinds: Kinds,
    stages_of: Callable[[str], list[Stage]],
    results: bool,
    dry_run: bool,
) -> list[str]:
    """Remove outputs that the current configuration does not name, and rows without an index.

    Nothing is removed of a data set whose files are missing or unreadable.

    place: the folders of data and results.
    kinds: all classes of stages.
    stages_of: returns the current configuration's last stages of a data set.
    results: also remove training runs, evaluations, predictions, imports, pages, written crops.
    dry_run: only list what would be removed.

    Returns the lines to print: what was kept and why, each folder or file removed, the space freed.
    """
    store = place.store_root
    notes: list[str] = []
    unneeded: list[Path] = []
    listed = _folders_listed(store, kinds)
    unfinished: set[Path] = set()  # folders of rows that a stage has not finished
    for dataset in _datasets(store, kinds):
        try:
            current = [stage for last in stages_of(dataset) for stage in upstream(last)]
            named = {stage.folder for stage in current} | _folders_read(current) | listed
        except FAMILY as error:
            notes.append(f"{dataset}: nothing removed ({error})")
            if _has_unlisted_rows(store, kinds, dataset):
                unfinished |= _row_folders(place)
            continue
        outputs = _outputs(store, kinds, dataset)
        unfinished |= {rows for stage in current if (rows := stage.fills()) and _is_stale(stage)}
        if any(in_use(store, lock_name(final)) for f, final in outputs.items() if f != final):
            notes.append(f"{dataset}: nothing removed (a run is in progress)")
            continue
        kept = {kind.STAGE for kind in kinds if kind.KEPT or (kind.RESULT and not results)}
        unneeded += [
            folder
            for folder, final in outputs.items()
            if final not in named and folder.parent.name not in kept
        ]
    notes += [_refusal(store, folder) for folder in unneeded if not _is_removable(folder)]
    unneeded = [folder for folder in unneeded if _is_removable(folder)]
    removed = {folder: size_of(folder) for folder in unneeded}
    if not dry_run:
        for folder in unneeded:
            shutil.rmtree(folder)
    for rows in sorted(_row_folders(place)):
        if rows in unfinished or in_use(store, rows.name):
            notes.append(f"{rows.relative_to(store)}: nothing removed (not yet finished)")
            continue
        unused = _unused(store, rows, kinds, set(unneeded))
        if unused and not _may_change(rows):
            notes.append(_refusal(store, rows))
        elif unused:
            removed |= _remove_rows(store, rows, kinds, set(unneeded), dry_run)
    return [*notes, *_report(store, removed, dry_run)]


def _remove_rows(
    store: Path, rows: Path, kinds: Kinds, gone: set[Path], dry_run: bool
) -> dict[Path, int]:
    """Remove the files of rows that no index refers to. Returns their sizes in bytes."""
    # Listed again under the lock: the rows of a running stage have no index yet.
    with nullcontext() if dry_run else locked(store, rows.name, "filling rows"):
        sizes = {file: size_of(file) for file in _unused(store, rows, kinds, gone)}
        for file in sizes if not dry_run else ():
            file.unlink()
    return sizes


def _is_removable(folder: Path) -> bool:
    """Return True if this user may remove all of an output; removing a part would damage it."""
    inside = [path for path in folder.rglob("*") if path.is_dir()]
    return all(map(_may_change, (folder.parent, folder, *inside)))


def _may_change(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _refusal(store: Path, folder: Path) -> str:
    return (
        f"{folder.relative_to(store)}: nothing removed (it belongs to another user: ask for write "
        "permission, chmod -R g+w, or ask its owner to run Prune)"
    )


def _report(store: Path, removed: dict[Path, int], dry_run: bool) -> list[str]:
    lines = [f"{path.relative_to(store)}  {size / 1e6:.1f} MB" for path, size in removed.items()]
    freed = sum(removed.values()) / 1e6
    return [*lines, f"{'would free' if dry_run else 'freed'} {freed:.1f} MB"]


def _datasets(store: Path, kinds: Kinds) -> list[str]:
    """List the data sets that have an output in the store."""
    return sorted({_dataset(f) for kind in kinds for f in folders(store, kind.STAGE)})


def _dataset(folder: Path) -> str:
    return folder.name.rsplit("-", 1)[0]


def _outputs(store: Path, kinds: Kinds, dataset: str) -> dict[Path, Path]:
    """Map each output folder of a data set, finished or not, to its final folder."""
    outputs: dict[Path, Path] = {}
    for stage in dict.fromkeys(kind.STAGE for kind in kinds):
        outputs |= {folder: folder for folder in folders(store, stage)} | partials(store, stage)
    return {folder: final for folder, final in outputs.items() if _dataset(final) == dataset}


def _folders_read(stages: Iterable[Stage]) -> set[Path]:
    """Return all folders above the stages' sources, because a source may be a stored output."""
    sources = [path.absolute() for stage in stages for path in stage.sources().values()]
    return {parent for path in sources for parent in path.parents}


def _folders_listed(store: Path, kinds: Kinds) -> set[Path]:
    """Return all folders above the files that outputs to keep list outside themselves."""
    listed: set[Path] = set()
    for folder in (f for kind in kinds if kind.KEPT for f in folders(store, kind.STAGE)):
        manifest = read_manifest(folder)
        for name in () if manifest is None else manifest["files"]:
            listed |= {*Path(os.path.normpath(folder / name)).parents}
    return listed


def _is_stale(stage: Stage) -> bool:
    return damage(stage.folder, stage.paths.digests) is not None


def _row_folders(place: paths) -> set[Path]:
    return {path for path in place.pyramids.glob("*") if path.is_dir()}


def _fill_rows(kinds: Kinds) -> list[str]:
    """List the stages whose outputs refer to rows."""
    return [kind.STAGE for kind in kinds if kind.fills is not Stage.fills]


def _has_unlisted_rows(store: Path, kinds: Kinds, dataset: str) -> bool:
    """Return True if a data set's extraction is unfinished, so that no manifest names its rows."""
    stages = _fill_rows(kinds)
    outputs = [f for f in _outputs(store, kinds, dataset) if f.parent.name in stages]
    return any(read_manifest(folder) is None for folder in outputs)


def _unused(store: Path, rows: Path, kinds: Kinds, gone: set[Path]) -> list[Path]:
    """List the files in `rows` that no index refers to once the folders `gone` are removed."""
    used: set[str] = set()
    for folder in (f for stage in _fill_rows(kinds) for f in folders(store, stage)):
        manifest = read_manifest(folder)
        if folder not in gone and manifest is not None:
            here = os.path.relpath(rows, folder) + os.sep
            used |= {name.removeprefix(here) for name in manifest["files"]}
    return [file for file in sorted(rows.iterdir()) if file.name not in used]
