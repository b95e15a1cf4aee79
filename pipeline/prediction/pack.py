"""A packed folder: models with all files that prediction needs, for use on another machine.

packed.json                  each model's precision and settings of grounding and extraction
entities/, relations/        models with their tokenizers
backbone-….safetensors       weights of each backbone that the models need
grounder-…                   weights of a learned grounder, with --with-grounder
describer-…                  weights of a captioner, with --with-describer
vocabulary-…                 words of the grounder FAOA
SHA256SUMS                   digests of all these files, in the format of sha256sum
"""

import logging
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
from pipeline.description.config import CAPTIONER, DescribeConfig
from pipeline.engine.digests import of_file
from pipeline.engine.files import read_json, settle, size_of, write_json
from pipeline.engine.versions import versions
from pipeline.errors import DataError, SettingError
from pipeline.extraction.config import ExtractConfig
from pipeline.grounding.config import FAOA, READ_PHRASES, GroundConfig
from pipeline.prediction.runs import (
    Files,
    PictureSetup,
    Run,
    TextSetup,
    digest_of,
    open_run,
    with_captioner,
    with_grounder,
)
from pipeline.training.config import BACKBONE
from pipeline.training.possible import PREDICTED, task_of

MANIFEST, SUMS = "packed.json", "SHA256SUMS"
FORMAT = 1
PARTIAL = ".{}.partial"
log = logging.getLogger(__name__)


# --- packing


def pack(
    folders: Sequence[Path],
    out: Path,
    files: Files,
    grounder_too: bool = False,
    describer_too: bool = False,
) -> None:
    """Write the models of one or two runs, and the files that they need, into a new folder `out`.

    files: weights to use in place of those that the runs name.
    grounder_too: also pack the weights of a learned grounder; without them, loading the packed
        folder needs the hub's cache or `grounder`.
    describer_too: also pack the weights of a captioner, likewise.

    Raises DataError, SettingError, OSError, and the errors of loading weights.
    """
    if out.exists():
        raise SettingError(f"{out}: expected a new folder to pack into, found an existing one")
    runs = {
        PREDICTED[task_of(run.model)]: run for run in (open_run(path, files) for path in folders)
    }
    if len(runs) < len(folders):
        raise SettingError(
            "expected one run for entities, one for relations, or one of each, found two for one "
            "task"
        )
    for run in runs.values():
        if run.model.resolve() in out.resolve().parents:
            raise SettingError(f"{out}: expected a folder outside of the model {run.model}")
    partial = out.with_name(PARTIAL.format(out.name))
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
    partial.mkdir(parents=True)
    try:
        _fill(partial, runs, grounder_too, describer_too)
        settle(partial)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(folder: Path, runs: Mapping[str, Run], grounder_too: bool, describer_too: bool) -> None:
    about = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "models": {
            name: _add(name, run, folder, grounder_too)
            | {"texts": _add_texts(run.texts, folder, grounder_too, describer_too)}
            for name, run in runs.items()
        },
    }
    write_json(folder / MANIFEST, about)
    (folder / SUMS).write_text(_written(_sums(folder)), encoding="utf-8")


def _add(name: str, run: Run, folder: Path, grounder_too: bool) -> dict[str, Any]:
    """Copy a run into the packed folder. Returns its entry in the manifest."""
    shutil.copytree(run.model, folder / name, ignore=shutil.ignore_patterns(BACKBONE))
    if run.pictures is None:
        return {"precision": run.precision, "pictures": None}
    extraction, grounding = run.pictures.extraction, run.pictures.grounding
    pictures = {
        "extraction": asdict(extraction) | {"weights": _add_backbone(extraction, folder)},
        **_add_grounder(grounding, folder, grounder_too),
    }
    return {"precision": run.precision, "pictures": pictures}


def _add_backbone(config: ExtractConfig, folder: Path) -> str:
    """Write a backbone's weights to a file named after their digest. Returns the name."""
    temporary = folder / ".backbone"
    save_state(load_backbone(config.backbone, config.weights, config.seed).state_dict(), temporary)
    name = f"backbone-{of_file(temporary)[:8]}.safetensors"
    temporary.replace(folder / name)
    return name


def _add_grounder(config: GroundConfig, folder: Path, weights_too: bool) -> dict[str, Any]:
    """Copy a learned grounder's files. Returns its settings, and the digest of its weights.

    The digest is None for weights that the hub provides and that are not packed.
    """
    if config.finder not in READ_PHRASES:
        return {"grounding": config.described(), "grounder": None}
    copies, weights = {}, Path(str(config.weights))
    if config.finder == FAOA and Path(str(config.vocabulary)).exists():
        copies["vocabulary"] = _add_copy("vocabulary", Path(str(config.vocabulary)), folder)
    if weights_too:
        weights = weights if weights.exists() else model_folder(str(weights))
        copies["weights"] = _add_copy("grounder", weights, folder)
    else:
        log.info("grounder %s: not packed; pack its weights with --with-grounder", config.weights)
    digest = digest_of(weights) if weights.exists() else None
    return {"grounding": config.described() | copies, "grounder": digest}


def _add_texts(
    setup: TextSetup | None, folder: Path, grounder_too: bool, describer_too: bool
) -> dict[str, Any] | None:
    """Copy what describes pictures. Returns its settings; None if the model needs no describer."""
    if setup is None:
        return None
    config, digest = setup.config, None
    if config.describer == CAPTIONER:
        weights = Path(str(config.weights))
        if describer_too:
            weights = model_folder(str(weights), "captioner", "no --with-describer")
            config = replace(config, weights=_add_copy("describer", weights, folder))
        else:
            log.info("captioner %s: not packed; pack it with --with-describer", weights)
        digest = digest_of(weights) if weights.exists() else None
    entry = {"config": config.described(), "describer": digest}
    if setup.grounding is not None:
        entry |= _add_grounder(setup.grounding, folder, grounder_too)
    return entry


def _add_copy(kind: str, source: Path, folder: Path) -> str:
    """Copy a file or folder under a name with its digest. Returns the name."""
    name = f"{kind}-{digest_of(source)[-8:]}{source.suffix if source.is_file() else ''}"
    target = folder / name
    if not target.exists():  # the other model may have added the same weights
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    return name


# --- opening


def open_packed(folder: Path, files: Files) -> list[Run]:
    """Open the runs of a packed folder, with the weights in it.

    Raises SettingError if `files` names a backbone; DataError if a file is missing, or if the
    folder has another format.
    """
    if files.backbone is not None:
        raise SettingError(f"{folder}: holds its backbone's weights; leave out --backbone")
    need_readable(folder)
    sums = _read_sums(folder)
    missing = [name for name in sums if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of its files are missing, such as {missing[0]}; copy the "
            "folder again"
        )
    return [
        Run(
            folder / name,
            entry["precision"],
            _setup(folder, entry["pictures"], files),
            _text_setup(folder, entry.get("texts"), files),
        )
        for name, entry in _manifest(folder, sums)["models"].items()
    ]


def _manifest(folder: Path, sums: Mapping[str, str]) -> Mapping[str, Any]:
    """Read the settings of a packed folder. Raises DataError if the file was altered."""
    if sums.get(MANIFEST) != of_file(folder / MANIFEST):
        raise DataError(f"{folder / MANIFEST}: was altered; copy the folder again")
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    if manifest["format"] != FORMAT:
        raise DataError(
            f"{folder}: expected a packed folder of format {FORMAT}, found {manifest['format']}; "
            "pack the runs again with this version"
        )
    return manifest


def _setup(folder: Path, pictures: Mapping[str, Any] | None, files: Files) -> PictureSetup | None:
    if pictures is None:
        return None
    extraction = ExtractConfig(**pictures["extraction"])
    extraction = replace(extraction, weights=str(folder / extraction.weights))
    return PictureSetup(_grounding(folder, pictures, files), extraction)


def _grounding(folder: Path, packed: Mapping[str, Any], files: Files) -> GroundConfig:
    grounding = GroundConfig.from_described(packed["grounding"])
    if grounding.vocabulary is not None and (folder / grounding.vocabulary).exists():
        grounding = replace(grounding, vocabulary=str(folder / grounding.vocabulary))
    # Weights that were not packed have an absolute path, which `/` leaves unchanged.
    known = folder / str(grounding.weights)
    return with_grounder(grounding, folder, packed["grounder"], [known], files.grounder)


def _text_setup(folder: Path, texts: Mapping[str, Any] | None, files: Files) -> TextSetup | None:
    if texts is None:
        return None
    config = DescribeConfig.from_described(texts["config"])
    if config.describer == CAPTIONER:
        known = folder / str(config.weights)  # an absolute path stays as it is
        config = with_captioner(config, folder, texts["describer"], [known], files.describer)
    return TextSetup(config, _grounding(folder, texts, files) if "grounding" in texts else None)


# --- digests


def _sums(folder: Path) -> dict[str, str]:
    """Return name -> digest of each file below a packed folder, except SHA256SUMS itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = (path.relative_to(folder).as_posix() for path in files)
    return {name: of_file(folder / name) for name in names if name != SUMS}


def _written(sums: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def _read_sums(folder: Path) -> dict[str, str]:
    """Read name -> digest from SHA256SUMS. Raises DataError if it is missing or damaged."""
    file = folder / SUMS
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); copy the folder again") from error
    pairs = [line.split("  ", 1) for line in text.split("\n")[:-1]]
    sums = {pair[-1]: pair[0] for pair in pairs}
    if _written(sums) != text:
        raise DataError(f"{file}: was altered; copy the folder again")
    return sums


def check_packed(folder: Path) -> list[str]:
    """Describe a packed folder, a line per model, if all its files have the digests of packing.

    Raises DataError, AccessError.
    """
    if not (folder / MANIFEST).exists() and not (folder / SUMS).exists():
        raise DataError(f"{folder}: expected a packed folder with {MANIFEST}, found none")
    need_readable(folder)
    wanted, present = _read_sums(folder), _sums(folder)
    faults = {
        "missing": sorted(wanted.keys() - present.keys()),
        "added": sorted(present.keys() - wanted.keys()),
        "altered": [name for name in wanted if present.get(name, wanted[name]) != wanted[name]],
    }
    if any(faults.values()):
        parts = (f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise DataError(f"{folder}: {'; '.join(parts)}; copy the folder again")
    lines = [f"{folder}: {len(wanted)} files, {size_of(folder) / 1e6:.0f} MB, all as packed"]
    for name, entry in _manifest(folder, wanted)["models"].items():
        pictures = "with pictures" if entry["pictures"] else "text only"
        texts = entry.get("texts")
        describer = f"picture texts by {texts['config']['describer']}, " if texts else ""
        lines.append(f"{name}: {pictures}, {describer}{entry['precision']}")
    return lines
