"""Convert an export into DATA/NAME/posts.jsonl and DATA/NAME/pictures/."""

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
_INLINE = "pictures are left out, because they are inside the export (data: URLs)"
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts 8 digits before an upload's name


@dataclass(frozen=True)
class _Copies:
    """The pictures to copy, by their name in the data set."""

    by_name: dict[str, Path] = field(default_factory=dict)
    near: NearNames = field(default_factory=NearNames)  # names in the folder to copy from

    def name_for(self, file: Path) -> str:
        """Return a unique name for a file: its own, if need be with its folders' names before."""
        name = file.name
        for parent in file.parents:
            if self.by_name.setdefault(name, file) == file:
                break
            name = f"{parent.name}-{name}"
        return name


def import_posts(
    dataset: str, file: Path, form: str, pictures: Path | None, data: Path, overwrite: bool
) -> list[str]:
    """Convert an export into a data set and return lines about it. Raises DataError, SettingError.

    Nothing is written unless all posts and pictures are valid.

    dataset: name of the new data set.
    file: what the tool wrote, a file or a folder.
    form: its format, a key of FORMATS.
    pictures: the folder to copy the named pictures from.
    data: the folder of the data sets.
    overwrite: replace posts and pictures that exist.
    """
    folder = _folder(dataset, data)
    target = text_file(folder)
    if target.exists() and not overwrite:
        raise DataError(
            f"{target} exists already; give another --dataset, or --overwrite to replace it"
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
            f"--dataset: expected a new name, found {dataset}, the name of a published data set "
            "or the demo"
        )
    if not is_file_name(dataset):
        raise SettingError(f"--dataset: expected a plain name, found {clip(dataset)}")
    return data / dataset


def _post(
    record: Record, form: str, folder: Path | None, copies: _Copies, notes: Notes
) -> dict[str, Any]:
    """Return a record's fields with the pictures' names in the data set."""
    addresses = [name for name in record.pictures if not name.lower().startswith("data:")]
    if len(addresses) < len(record.pictures):
        notes.add(_INLINE, record.place.text[:80])
    pictures = [(name, folder and find_picture(name, folder)) for name in addresses]
    if form == "brat":  # its records list all possible names of the picture
        pictures = [picture for picture in pictures if picture[1]][:1]
    names = []
    for name, file in pictures:
        base = _base(name)
        if file:
            names.append(copies.name_for(file))
        elif is_file_name(base):
            names.append(base)
            hint = copies.near.hint(folder / base) if folder else ""
            notes.add(_MISSING if folder else _UNCOPIED, described(clip(base), hint))
    fields = record.fields
    return fields | ({"picture": names[0] if len(names) == 1 else names} if names else {})


def find_picture(name: str, folder: Path) -> Path | None:
    """Return the file in a folder that a path or URL names; None if it does not exist.

    Tries the path below the folder, its last part, and its last part without the prefix that
    Label Studio gives to uploads. Files outside the folder are never used.
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
    """Return the path in a URL; for Label Studio's local files, it is behind `?d=`."""
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
        record.place.need(id not in seen, "an id not used before", id)
        seen.add(id)
    if not posts:
        raise DataError("expected posts in the export, found none with text")


def _check_pictures(copies: _Copies, folder: Path, overwrite: bool) -> None:
    """Raise DataError if a copy would replace a different picture, unless `overwrite`."""
    for name, file in copies.by_name.items():
        copy = folder / name
        same = not copy.exists() or filecmp.cmp(file, copy, shallow=False)
        if not same and not overwrite:
            raise DataError(
                f"{copy} is another picture than {file}; give another --dataset, or --overwrite "
                "to replace it"
            )


def _copy(copies: _Copies, folder: Path) -> None:
    for name, file in copies.by_name.items():
        copy = folder / name
        folder.mkdir(exist_ok=True)
        if copy.exists() and filecmp.cmp(file, copy, shallow=False):
            continue
        temporary = folder / f".{name[:200]}.tmp"
        shutil.copyfile(file, temporary)
        temporary.replace(copy)


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
