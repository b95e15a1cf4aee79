"""Pictures that an earlier run could not use and this installation can read.

A stage's report lists the pictures that it could not use. A later installation may read them: with
a newer Pillow, the extra [heif], or a newer version of this program. Such pictures enter the
stage's key as the setting READS, so the stage and those that depend on it run again. The keys of
other data sets don't change.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.engine.digests import Digests, of_text
from pipeline.engine.files import read_json
from pipeline.engine.memo import Memo
from pipeline.engine.outputs import READS, folders, read_manifest

VERDICTS = "pictures.sqlite"  # in the store: the files that each installation can read
_TABLE = "create table if not exists verdicts (file text primary key, good integer)"
_FIND = "select good from verdicts where file=?"
_KEEP = "insert or replace into verdicts values (?, ?)"
# Problems that depend on the installation. A missing, empty or too large file needs no check: if it
# changes, so does its digest, which is part of the key.
_KINDS = ("broken:", "format:")


def recovered(store: Path, key: dict[str, Any], root: Path, digests: Digests) -> list[str]:
    """Return the names of pictures that outputs of this key could not use and are readable now.

    Reads the report of the output with this key; if that was pruned, the reports of the outputs
    that replaced it.

    key: of a stage, without READS.
    root: the folder that the names are relative to.
    """
    names = _unusable(store, json.loads(json.dumps(key)))
    return sorted(_readable(names, root, store / VERDICTS, digests)) if names else []


def _unusable(store: Path, key: dict[str, Any]) -> set[str]:
    fingerprint = of_text(json.dumps(key, sort_keys=True))[:16]
    first = store / key["stage"] / f"{key['dataset']}-{fingerprint}"
    if first.exists():
        return _in_report(first)
    names: set[str] = set()
    for folder in folders(store, key["stage"]):
        manifest = read_manifest(folder) if folder.name.startswith(f"{key['dataset']}-") else None
        if manifest and READS in (settings := manifest["key"]["settings"]):
            others = {name: value for name, value in settings.items() if name != READS}
            if manifest["key"] | {"settings": others} == key:
                names |= {*settings[READS]} | _in_report(folder)
    return names


def _in_report(folder: Path) -> set[str]:
    try:
        report = read_json(folder / "report.json")
    except (OSError, ValueError):  # a damaged output is made again anyway
        return set()
    problems = report.get("problems") if isinstance(report, dict) else None
    if not isinstance(problems, dict):
        return set()
    return {name for name, why in problems.items() if str(why).startswith(_KINDS)}


def _readable(names: Iterable[str], root: Path, file: Path, digests: Digests) -> Iterable[str]:
    """Yield the pictures that can be opened. Each is tried once per installation."""
    from features.pictures import installation  # here, as keys must not import numpy, Pillow

    memo, version = Memo(file, _TABLE), installation()
    try:
        for name in names:
            try:
                memo_key = f"{digests.of(root / name)} {version}"
            except OSError:
                continue
            kept = memo.find(_FIND, [memo_key])
            good = _opens(root / name) if kept is None else bool(kept[0])
            if kept is None:
                memo.keep(_KEEP, [(memo_key, int(good))])
            if good:
                yield name
    finally:
        memo.close()


def _opens(path: Path) -> bool:
    from features.pictures import PictureError, open_picture

    try:
        open_picture(path)
    except PictureError:
        return False
    return True
