"""A packed folder: models with all that prediction needs, for another machine.

packed.json                  settings, and the digest of each file
entities/, relations/        models with their tokenizers
backbone-….safetensors       a backbone's weights, of each that the models need
grounder/, vocabulary/       a learned grounder's weights, if asked for
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.backbone import load_backbone
from features.errors import need_readable
from features.grounding.hub import model_folder
from features.weights import save_state
from pipeline.engine.digests import in_a_word, of_file
from pipeline.engine.files import need_space, read_json, settle, size_of, write_json
from pipeline.engine.versions import versions
from pipeline.errors import DataError, SettingError
from pipeline.extraction.config import ExtractConfig
from pipeline.grounding.config import FAOA, READ_PHRASES, GroundConfig
from pipeline.prediction.runs import Files, PictureSetup, Run, open_run
from pipeline.training.config import BACKBONE
from pipeline.training.possible import task_of

MANIFEST = "packed.json"
FORMAT = 1
NAMES = {"ner": "entities", "re": "relations"}  # of a task's folder
PARTIAL = ".{}.partial"
log = logging.getLogger(__name__)


def pack(folders: Sequence[Path], out: Path, files: Files, with_grounder: bool = False) -> None:
    """Write the models of some runs, and what they need, into a new folder `out`.

    files: weights that lie elsewhere than where the runs say. with_grounder: the weights of a
    learned grounder too; else a packed model fetches them, or is given them. Raises DataError,
    SettingError, SpaceError, and what loading raises.
    """
    if out.exists():
        raise SettingError(f"{out}: expected a new folder to pack into, found one that is there")
    runs = {NAMES[task_of(run.model)]: run for run in (open_run(one, files) for one in folders)}
    if len(runs) < len(folders):
        raise SettingError("expected one run for entities, one for relations, or one of each")
    partial = out.with_name(PARTIAL.format(out.name))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    need_space(partial, 2 * sum(size_of(run.model) for run in runs.values()), "this pack")
    models = {name: _add(name, run, partial, with_grounder) for name, run in runs.items()}
    write_json(
        partial / MANIFEST,
        {
            "format": FORMAT,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "models": models,
            "files": _digests(partial),
        },
    )
    settle(partial)
    partial.rename(out)


def _add(name: str, run: Run, folder: Path, with_grounder: bool) -> dict[str, Any]:
    """Copy a run into a packed folder. Returns its entry in the manifest."""
    shutil.copytree(run.model, folder / name, ignore=shutil.ignore_patterns(BACKBONE))
    entry: dict[str, Any] = {"precision": run.precision, "pictures": None}
    if run.pictures is None:
        return entry
    extraction, grounding = run.pictures.extraction, run.pictures.grounding
    entry["pictures"] = {
        "grounding": grounding.described() | _copied(grounding, folder, with_grounder),
        "extraction": asdict(extraction) | {"weights": _backbone(extraction, folder)},
    }
    return entry


def _backbone(config: ExtractConfig, folder: Path) -> str:
    """Write a backbone's weights under a name of their content. Returns the name."""
    temporary = folder / ".backbone"
    save_state(load_backbone(config.backbone, config.weights, config.seed).state_dict(), temporary)
    name = f"backbone-{of_file(temporary)[:8]}.safetensors"
    temporary.replace(folder / name)
    return name


def _copied(config: GroundConfig, folder: Path, with_grounder: bool) -> dict[str, str]:
    """Copy a learned grounder's files. Returns the settings that name them, relative."""
    if config.finder not in READ_PHRASES:
        return {}
    if not with_grounder:
        log.info(
            "grounder %s: its weights are not packed; --with-grounder packs them", config.weights
        )
        return {}
    sources = {"weights": Path(str(config.weights))}
    if config.finder == FAOA:
        sources["vocabulary"] = Path(str(config.vocabulary))
    copies = {}
    for name, source in sources.items():
        place = folder / ("grounder" if name == "weights" else name)
        path = source if source.exists() else model_folder(str(source))
        target = place if path.is_dir() else place / path.name
        if not target.exists():  # the other model's, which is the same
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else _copy_file(path, target)
        copies[name] = target.relative_to(folder).as_posix()
    return copies


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _digests(folder: Path) -> dict[str, str]:
    """Name -> digest of each file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): in_a_word(of_file(path)) for path in files}


def open_packed(folder: Path, files: Files) -> list[Run]:
    """The runs of a packed folder, its weights found in it.

    Raises DataError where a file is missing, or the folder was packed by a later version.
    """
    need_readable(folder)
    if files.backbone is not None:
        raise SettingError(f"{folder}: a packed folder holds its backbone's weights; give no other")
    manifest = _manifest(folder)
    missing = [name for name in manifest["files"] if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} files are missing, such as {missing[0]}; copy it again"
        )
    return [
        Run(folder / name, entry["precision"], _setup(folder, entry["pictures"], files))
        for name, entry in manifest["models"].items()
    ]


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        manifest = read_json(folder / MANIFEST)
        known = manifest["format"] == FORMAT and {"models", "files"} <= manifest.keys()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{folder / MANIFEST}: expected a packed folder's manifest: {error}"
        ) from error
    if not known:
        raise DataError(
            f"{folder}: expected a folder packed in form {FORMAT}, found {manifest['format']}; "
            "pack the runs again with this version"
        )
    for name in (*manifest["models"], *manifest["files"]):
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise DataError(
                f"{folder / MANIFEST}: expected names within the folder, found {name!r}"
            )
    return manifest


def _setup(folder: Path, pictures: Mapping[str, Any] | None, files: Files) -> PictureSetup | None:
    if pictures is None:
        return None
    extraction = ExtractConfig(**pictures["extraction"])
    extraction = replace(extraction, weights=str(folder / extraction.weights))
    grounding = GroundConfig.from_described(pictures["grounding"])
    for name in ("weights", "vocabulary"):
        value = getattr(grounding, name)
        if value is not None and (folder / value).exists():
            grounding = replace(grounding, **{name: str(folder / value)})
    if files.grounder is not None:
        grounding = replace(grounding, weights=str(files.grounder))
    return PictureSetup(grounding, extraction)


def check_packed(folder: Path) -> list[str]:
    """Lines on a packed folder whose files all have their digests. Raises DataError."""
    manifest = _manifest(folder)
    open_packed(folder, Files())
    for name, digest in manifest["files"].items():
        content = in_a_word(of_file(folder / name))
        if content != digest:
            raise DataError(
                f"{folder / name}: expected {digest}, found {content}: it was altered; copy the "
                "folder again"
            )
    sizes = size_of(folder)
    lines = [f"{folder}: {len(manifest['files'])} files, {sizes / 1e6:.0f} MB, all as packed"]
    for name, entry in manifest["models"].items():
        pictures = "with pictures" if entry["pictures"] else "text only"
        lines.append(f"{name}: {pictures}, {entry['precision']}")
    return lines
