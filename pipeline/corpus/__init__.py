"""Readers of the published data sets and of the user's own: files to posts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from features.errors import access_named
from pipeline.corpus import conll, jsonl, labelled, mnre
from pipeline.corpus.config import DEFAULT, ReadConfig
from pipeline.corpus.files import Layout, Places, clip, is_file_name
from pipeline.corpus.hints import near_misses
from pipeline.corpus.post import SPLITS, Post
from pipeline.engine.near import NearNames
from pipeline.errors import DataError

__all__ = ["SPLITS", "Corpus", "DataError", "Layout", "Post", "ReadConfig", "locate", "read"]


@dataclass(frozen=True)
class Corpus:
    """A data set's posts, and for MNRE its relations."""

    posts: list[Post]
    relations: list[str] | None  # MNRE's in label order, "None" first; None for other data sets


def locate(dataset: str, data: Path) -> Layout:
    """Locate a data set's files under the data root, without opening a file or listing a folder.

    dataset: mnre, twitter2015, twitter2017, or the name of a folder of own data.
    Raises DataError if the texts are missing, AccessError if a folder may not be read.
    """
    with access_named(data):
        if dataset == "mnre":
            return _published(dataset, data, mnre.candidates(data), mnre.places)
        if dataset in conll.DATASETS:
            return _published(dataset, data, conll.candidates(data, dataset), conll.places)
        return _own(dataset, data)


def read(layout: Layout, config: ReadConfig = DEFAULT) -> Corpus:
    """Read all posts of a data set: train, val, test; own data in the file's order.

    A missing picture or crop is not an error here: the post has the path where it should be.

    config: settings of reading own posts; published data sets need none.
    Raises DataError, one line with the file's name, if the data is not as expected.
    """
    if layout.dataset == "mnre":
        posts, relations = mnre.read(layout)
        return Corpus(posts, relations)
    if jsonl.ALL in layout.texts:
        return Corpus(jsonl.read(layout, config), None)
    imgid = layout.texts["train"].suffix == ".txt"
    return Corpus(conll.read(layout) if imgid else labelled.read(layout), None)


def _published(
    dataset: str,
    data: Path,
    candidates: list[dict[str, Path]],
    places: Callable[[Path, str], Places],
) -> Layout:
    texts = _texts(dataset, data, candidates)
    return _laid_out(dataset, data, texts, places)


def _laid_out(
    dataset: str, data: Path, texts: dict[str, Path], places: Callable[[Path, str], Places]
) -> Layout:
    where = [places(text, split) for split, text in texts.items()]
    # Only the first existing place of each file is read.
    dictionaries = [next(filter(Path.is_file, p.dictionaries), None) for p in where]
    labels = next(filter(Path.is_file, where[0].labels), None)
    return Layout(
        dataset=dataset,
        root=data,
        texts=texts,
        extras=tuple(path for path in (*dictionaries, labels) if path is not None),
        pictures=_first_folders([p.pictures for p in where]),
        crops=_first_folders([p.crops for p in where]),
        folders=tuple(
            (next(filter(Path.is_dir, paths), paths[0])).relative_to(data).as_posix()
            for place in where
            for paths in (place.pictures, place.crops)
        ),
        released=None not in dictionaries,
    )


def _own(dataset: str, data: Path) -> Layout:
    if not is_file_name(dataset):
        raise DataError(
            f"dataset: expected mnre, twitter2015, twitter2017 or the plain name of a folder in "
            f"{data}, found {clip(dataset)}"
        )
    text = jsonl.text_file(data / dataset)
    json_texts = [{jsonl.ALL: text}, labelled.candidates(data / dataset)]
    texts = _texts(dataset, data, [*json_texts, *conll.candidates(data, dataset)])
    if texts not in json_texts:
        return _laid_out(dataset, data, texts, conll.places)
    folder = jsonl.picture_folder if jsonl.ALL in texts else labelled.picture_folder
    pictures = _first_folders([(folder(text),) for text in texts.values()])
    return Layout(dataset=dataset, root=data, texts=texts, pictures=pictures)


def _texts(dataset: str, data: Path, candidates: list[dict[str, Path]]) -> dict[str, Path]:
    """Return the texts of the first layout that has any. Raises DataError if one is missing."""
    for texts in candidates:
        missing = [str(text) for text in texts.values() if not text.is_file()]
        if not missing:
            return texts
        if len(missing) < len(texts):
            raise DataError(
                f"the texts of {dataset} are not complete: {', '.join(missing)} missing; "
                'see README, section "Data"'
            )
    first = [next(iter(texts.values())) for texts in candidates]
    near = NearNames()
    hints = "".join(f"; {hint}" for hint in dict.fromkeys(map(near.hint, first)) if hint)
    is_own = dataset != "mnre" and dataset not in conll.DATASETS
    raise DataError(
        f"no texts of {dataset}: looked for {', '.join(map(str, first))}{hints}; "
        f"{near_misses(data, dataset, is_own)}put them there or give another folder of data with "
        '--paths-data; see README, section "Data"'
    )


def _first_folders(candidates: list[tuple[Path, ...]]) -> tuple[Path, ...]:
    """Return the first existing folder of each split's candidates, without duplicates."""
    first = {next(filter(Path.is_dir, paths), None) for paths in candidates}
    return tuple(path for path in dict.fromkeys(sum(candidates, ())) if path in first)


DEMO = "demo"
