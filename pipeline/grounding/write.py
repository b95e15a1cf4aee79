"""Grounding -> crop files with the published names and layout, for other code to read."""

import logging
import shutil
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from tqdm import tqdm

from features.pictures import Box, PictureError, cut, open_picture
from pipeline.corpus import conll, mnre
from pipeline.corpus.files import Places
from pipeline.corpus.post import SPLITS, Post
from pipeline.engine.files import write_json
from pipeline.engine.near import NearNames, described
from pipeline.errors import first_few
from pipeline.grounding.crops import Grounded

COMPRESSION = 3  # of PNG: files 4 % larger than at the default 6, in a third of the time

log = logging.getLogger(__name__)

Entry = int | str  # key of a dictionary: a row of its split (from 0), or a picture's name
Problems = dict[str, str]  # file, relative to the data root -> why it can't be used


def write_crops(
    grounded: Sequence[Grounded], root: Path, posts: Sequence[Post], dataset: str, folder: Path
) -> None:
    """Write crops and the dictionaries that name them into `folder`, laid out as published.

    Posts with relations are written in MNRE's layout, `RE_data/`: a list of crops for each row.
    Other posts are written in the layout of the entity data sets, `NER_data/` and the data set's
    name: a list for each picture, so posts that share a picture share its crops. Every split, row
    and picture has an entry. `report.json` has the counts, and the files that can't be used.

    grounded: one for each of `posts`, in their order.
    root: the data root.
    """
    assert [post.id for post in posts] == [line.id for line in grounded]
    relations = any(post.relation is not None for post in posts)
    problems = {str(line.picture): line.problem for line in grounded if line.problem is not None}
    pictures = {(line.split, line.picture) for line in grounded if line.picture is not None}
    written = 0
    with tqdm(total=len(pictures), desc="writing crops", unit="picture", disable=None) as bar:
        for split in SPLITS:
            lines = [line for line in grounded if line.split == split]
            place = _place(relations, dataset, split, folder)
            place.crops[-1].mkdir(parents=True)
            entries = _write_split(lines, relations, root, place.crops[-1], problems, bar)
            _save(entries, place.dictionaries[0])
            written += sum(1 for _ in place.crops[-1].iterdir())
    report = {
        "layout": "relations" if relations else "entities",
        "posts": len(posts),
        "pictures": len(pictures),
        "crops": written,
        "problems": dict(sorted(problems.items())),
    }
    write_json(folder / "report.json", report)
    log.info("%(crops)d crops of %(pictures)d pictures, in the layout of %(layout)s", report)
    if problems:
        log.warning("%d files can't be used: %s", len(problems), first_few(problems))


def _place(relations: bool, dataset: str, split: str, folder: Path) -> Places:
    """Return the place where the reader of the published layout looks first."""
    if relations:
        return mnre.places(mnre.candidates(folder)[0][split], split)
    return conll.places(conll.candidates(folder, dataset)[0][split], split)


def _write_split(
    lines: Sequence[Grounded],
    relations: bool,
    root: Path,
    crops: Path,
    problems: Problems,
    bar: tqdm,
) -> dict[Entry, list[str]]:
    """Write the crops of a split into `crops`. Returns the file names of each entry's crops."""
    files = dict.fromkeys(r.file for line in lines for r in line.regions if r.file is not None)
    near = NearNames()
    copied = {file: Path(file).name for file in files if _copy(file, root, crops, problems, near)}
    entries: dict[Entry, list[str]] = {}
    by_picture: dict[str, list[tuple[Entry, Grounded]]] = {}
    for row, line in enumerate(lines):
        entry: Entry = row if relations else Path(line.picture or "").name
        if relations or line.picture is not None:
            entries[entry] = []
        if line.picture is not None:
            by_picture.setdefault(line.picture, []).append((entry, line))
    for picture, users in by_picture.items():
        boxes = (region.box for _, line in users for region in line.regions)
        names = _cut_boxes(picture, boxes, root, crops, problems)
        for entry, line in users:
            for region in line.regions:
                name = copied.get(region.file) if region.file else names.get(region.box)
                if name is not None and name not in entries[entry]:
                    entries[entry].append(name)
        bar.update()
    return entries


def _copy(file: str, root: Path, crops: Path, problems: Problems, near: NearNames) -> bool:
    """Copy a released crop file, keeping its name. Returns False if it is missing."""
    if not (root / file).is_file():
        problems[file] = described("missing", near.hint(root / file))
        return False
    shutil.copyfile(root / file, crops / Path(file).name)
    return True


def _cut_boxes(
    picture: str, boxes: Iterable[Box | None], root: Path, crops: Path, problems: Problems
) -> dict[Box | None, str]:
    """Write a crop for each distinct box of a picture. Returns box -> file name.

    The crops are numbered from 0; a number used by a released crop is skipped.
    """
    wanted = [box for box in dict.fromkeys(boxes) if box is not None]
    if not wanted:
        return {}
    try:
        image = open_picture(root / picture)
    except PictureError as error:
        problems[picture] = f"{error.kind}: {error}"
        return {}
    numbered = (crops / f"{Path(picture).name}_pred_yolo_crop_{n}.png" for n in count())
    free = (file for file in numbered if not file.exists())
    names: dict[Box | None, str] = {}
    for box in wanted:
        try:
            crop = cut(image, box)
        except PictureError as error:  # a bad box must not cost the others
            problems[picture] = f"crop: {error}"
            continue
        file = next(free)
        crop.save(file, compress_level=COMPRESSION)
        names[box] = file.name
    return names


def _save(entries: dict[Entry, list[str]], path: Path) -> None:
    """Save a plain dictionary of lists of strings, which torch.load reads with weights_only."""
    import torch  # only here: the import takes seconds

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(entries, path)
