"""An export -> DATA/NAME/posts.jsonl and DATA/NAME/pictures/."""

import filecmp
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.corpus import DEMO, conll
from pipeline.corpus.files import clip, is_file_name
from pipeline.corpus.imports import brat, doccano, label_studio, own
from pipeline.corpus.imports import conll as columns
from pipeline.corpus.imports.source import Record
from pipeline.corpus.jsonl import check_record, picture_folder, text_file
from pipeline.corpus.notes import Notes
from pipeline.corpus.tags import check_scheme
from pipeline.engine.files import leads_out
from pipeline.engine.near import NearNames, described
from pipeline.errors import DataError, SettingError

FORMATS: dict[str, Callable[[Path, Notes], list[Record]]] = {
    "label-studio": label_studio.read,
    "doccano": doccano.read,
    "brat": brat.read,
    "conll": columns.read,
    "records": own.read,
}
PUBLISHED = ("mnre", *conll.DATASETS, DEMO)
_MISSING = "pictures are not in --pictures; their names are kept"
_UNCOPIED = "posts name pictures, which are not copied without --pictures FOLDER"
_INLINE = "pictures are within the export (data: addresses), and left out"
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts 8 digits before an upload's name


@dataclass(frozen=True)
class _Copies:
    """Pictures to copy, by their name in the data set."""

    by_name: dict[str, Path] = field(default_factory=dict)
    near: NearNames = field(default_factory=NearNames)  # in the folder that they are copied from

    def name_for(self, file: Path) -> str:
        """A name for a file: its own, or one that its folder's name makes different."""
        name = file.name
        for parent in file.parents:
            if self.by_name.setdefault(name, file) == file:
                break
            name = f"{parent.name}-{name}"
        return name


def import_posts(
    dataset: str, file: Path, form: str, pictures: Path | None, data: Path, overwrite: bool
) -> list[str]:
    """Write a data set from an export; lines for people to read.

    file: what the tool wrote, a file or a folder. pictures: the folder to copy the named pictures
    from. Nothing is written unless all can be. Raises DataError or SettingError.
    """
    folder = _folder(dataset, data)
    target = text_file(folder)
    if target.exists() and not overwrite:
        raise DataError(
            f"{target} is there already; give another --dataset, or --overwrite to replace it"
        )
    if pictures is not None and not pictures.is_dir():
        raise DataError(f"--pictures: expected a folder, found none at {pictures}")
    notes = Notes()
    records = FORMATS[form](file, notes)
    copies = _Copies()
    posts = [_post(record, form, pictures, copies, notes) for record in records]
    _check(records, posts)
    check_scheme([post["tags"] for post in posts if "tags" in post], dataset)
    _check_pictures(copies, picture_folder(target), overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    _copy(copies, picture_folder(target))
    _write(posts, target)
    return [_summary(posts, copies, target), *notes.lines(), _next(dataset)]


def _folder(dataset: str, data: Path) -> Path:
    if dataset in PUBLISHED:
        raise SettingError(
            f"--dataset: expected a name of your own, found {dataset}, which is a known data set's"
        )
    if not is_file_name(dataset):
        raise SettingError(f"--dataset: expected a plain name, found {clip(dataset)}")
    return data / dataset


def _post(
    record: Record, form: str, folder: Path | None, copies: _Copies, notes: Notes
) -> dict[str, Any]:
    """A record's fields with its pictures' names in the data set."""
    addresses = [name for name in record.pictures if not name.lower().startswith("data:")]
    if len(addresses) < len(record.pictures):
        notes.add(_INLINE, record.place.text[:80])
    found = [(name, folder and find_picture(name, folder)) for name in addresses]
    if form == "brat":  # of the names that a picture may have, the one that is there
        found = [pair for pair in found if pair[1]][:1]
    names = []
    for name, file in found:
        own_name = _base(name)
        if file:
            names.append(copies.name_for(file))
        elif is_file_name(own_name):
            names.append(own_name)
            hint = copies.near.hint(folder / own_name) if folder else ""
            notes.add(_MISSING if folder else _UNCOPIED, described(clip(own_name), hint))
    fields = record.fields
    return fields | ({"picture": names[0] if len(names) == 1 else names} if names else {})


def find_picture(name: str, folder: Path) -> Path | None:
    """The file in a folder that a path or address names; None where there is none.

    Tried in turn: the path below the folder, its last part, and that without what Label Studio puts
    before an upload's name. Nothing outside the folder is looked at.
    """
    path = _address(name)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    base = parts[-1] if parts else ""
    uploaded = _UPLOADED.fullmatch(base)
    tries = [parts, [base], [uploaded[1]] if uploaded else []]
    for attempt in tries:
        if attempt and all(map(is_file_name, attempt)):
            file = folder.joinpath(*attempt)
            if file.is_file() and not leads_out(file, folder):
                return file
    return None


def _address(name: str) -> str:
    """The path in an address; Label Studio's local files have theirs behind `?d=`."""
    if "://" not in name[:12] and not name.startswith("/data/"):
        return name.replace("\\", "/")
    try:
        parts = urlsplit(name)
    except ValueError:
        return name
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]


def _base(name: str) -> str:
    base = _address(name).rpartition("/")[2]
    uploaded = _UPLOADED.fullmatch(base)
    return uploaded[1] if uploaded and name.startswith("/data/upload") else base


def _check(records: Sequence[Record], posts: Sequence[dict[str, Any]]) -> None:
    """Raise DataError unless ReadPosts will read every post."""
    seen = set()
    for number, (record, post) in enumerate(zip(records, posts, strict=True)):
        check_record(record.place, post, Notes())
        id = str(post.get("id", number))
        record.place.need(id not in seen, "an id that was not there before", id)
        seen.add(id)
    if not posts:
        raise DataError("expected posts in the export, found none with text")


def _check_pictures(copies: _Copies, folder: Path, overwrite: bool) -> None:
    for name, file in copies.by_name.items():
        there = folder / name
        same = not there.exists() or filecmp.cmp(file, there, shallow=False)
        if not same and not overwrite:
            raise DataError(
                f"{there} is another picture than {file}; give another --dataset, or --overwrite "
                "to replace it"
            )


def _copy(copies: _Copies, folder: Path) -> None:
    for name, file in copies.by_name.items():
        there = folder / name
        folder.mkdir(exist_ok=True)
        if there.exists() and filecmp.cmp(file, there, shallow=False):
            continue
        temporary = folder / f".{name[:200]}.tmp"
        shutil.copyfile(file, temporary)
        temporary.replace(there)


def _write(posts: Sequence[dict[str, Any]], target: Path) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        for number, post in enumerate(posts):
            line = {"id": number, **post}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def _summary(posts: Sequence[dict[str, Any]], copies: _Copies, target: Path) -> str:
    entities = sum(len(post.get("entities", ())) for post in posts)
    relations = sum(len(post.get("relations", ())) for post in posts)
    tagged = sum("tags" in post for post in posts)
    marked = f"{tagged} with tags" if tagged else f"{entities} entities, {relations} relations"
    return f"{target}: {len(posts)} posts, {marked}, {len(copies.by_name)} pictures copied"


def _next(dataset: str) -> str:
    return f"read them with: luigi --module tasks ReadPosts --dataset {dataset}"
