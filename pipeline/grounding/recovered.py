"""Pictures that an output calls unusable and that the present installation reads.

An output's report lists the pictures that it could not use. A later installation may read them:
with a newer Pillow, the extra [heif], or a newer version of this program. Such pictures enter the
stage's key as the setting READS, so the stage and those that need it run again; the keys of other
data sets stay.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.engine.digests import Digests, of_text
from pipeline.engine.files import read_json
from pipeline.engine.memo import Memo
from pipeline.engine.outputs import READS, folders, read_manifest

VERDICTS = "pictures.sqlite"  # in the store: which files an installation reads
_TABLE = "create table if not exists verdicts (file text primary key, good integer)"
_FIND = "select good from verdicts where file=?"
_KEEP = "insert or replace into verdicts values (?, ?)"
# Kinds of problems that another installation may not have. A file that is missing, empty, or too
# large stays so, as its digest is part of the key.
_KINDS = ("broken:", "format:")


def recovered(store: Path, key: dict[str, Any], root: Path, digests: Digests) -> list[str]:
    """The pictures that outputs of this key could not use and that are read now, by name.

    key: of a stage, without READS. root: what the names are relative to. Reads the report of the
    output with this key; if it was pruned, those of the outputs made again after it.
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
    except (OSError, ValueError):  # damaged: it is made again anyway
        return set()
    problems = report.get("problems") if isinstance(report, dict) else None
    if not isinstance(problems, dict):
        return set()
    return {name for name, why in problems.items() if str(why).startswith(_KINDS)}


def _readable(names: Iterable[str], root: Path, file: Path, digests: Digests) -> Iterable[str]:
    """Those of the pictures that can be opened. Each is tried once an installation."""
    from features.pictures import installation  # here: keys are made without numpy and Pillow

    memo, by = Memo(file, _TABLE), installation()
    try:
        for name in names:
            try:
                known_as = f"{digests.of(root / name)} {by}"
            except OSError:
                continue
            kept = memo.find(_FIND, [known_as])
            good = _opens(root / name) if kept is None else bool(kept[0])
            if kept is None:
                memo.keep(_KEEP, [(known_as, int(good))])
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
