"""What the readers share: where files may be, lines with their numbers, checks of what is read."""

import codecs
import pickle
import reprlib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from features.errors import need_readable
from pipeline.errors import DataError

MAX_BYTES = 1_000_000  # of a line, or a small file: a Python literal takes 500 times its size
CROPS_USED = 3  # the published crops carry no score; the first three are the ones used


class _Short(reprlib.Repr):
    """Shows plain values; of others, as tensors of many lines, the kind alone."""

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, bytes):
            return repr(x[:80])
        return repr(x) if x is None or isinstance(x, (bool, float)) else f"<{type(x).__name__}>"


_REPR = _Short()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80


@dataclass(frozen=True)
class Layout:
    """Where a dataset's files lie. Only what exists is listed.

    `texts` maps a split to its file; own data has one file for all splits, under "all". `extras`
    are the other files that decide what the posts are. `pictures` and `crops` are folders;
    `folders` are those that a published data set's file names begin with, there or not.
    `released` says that every split has a dictionary of published crops.
    """

    dataset: str
    root: Path  # the data root: file names in a Post are relative to it
    texts: dict[str, Path]
    extras: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    crops: tuple[Path, ...] = ()
    folders: tuple[str, ...] = ()
    released: bool = False

    @property
    def own(self) -> bool:
        """Whether the posts are in `posts.jsonl`, whose fields may leave things to settings."""
        return "all" in self.texts

    def picture_files(self) -> list[Path]:
        """The folders of pictures and crops, less those that lie within another.

        One that is a link may lead anywhere.
        """
        folders = (*self.pictures, *self.crops)
        within = [f for f in folders if any(parent in folders for parent in f.parents)]
        return [f for f in folders if f not in within or f.is_symlink()]


@dataclass(frozen=True)
class Places:
    """Where the files that go with one split's text may be, best place first."""

    pictures: tuple[Path, ...]  # folders
    crops: tuple[Path, ...] = ()  # folders
    dictionaries: tuple[Path, ...] = ()  # files that name the crops
    labels: tuple[Path, ...] = ()  # files that number the relations


@dataclass(frozen=True)
class Line:
    """One line of a file, without its end; `number` counts from 1."""

    path: Path
    number: int
    text: str

    @property
    def place(self) -> str:
        """The line, as messages name it."""
        return f"{self.path}, line {self.number}"

    def error(self, expected: str, found: object, advice: str = "") -> DataError:
        """The error for this line, itself one line. advice: what to do, after the rest."""
        end = f"; {advice}" if advice else ""
        return DataError(f"{self.place}: expected {expected}, found {clip(found)}{end}")

    def need(self, ok: bool, expected: str, found: object, advice: str = "") -> None:
        """Raise the error for this line unless `ok`."""
        if not ok:
            raise self.error(expected, found, advice)


def clip(found: object) -> str:
    """A value as Python would write it, 80 characters at most, without control characters."""
    try:
        text = _REPR.repr(found)
    except ValueError:  # an integer of too many digits to print
        text = f"<{type(found).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def lines(path: Path) -> Iterator[Line]:
    r"""The lines of a UTF-8 file, ended by "\n" or "\r\n" alone, without blank lines at its end.

    Other characters that Python takes for a line's end or a space occur as tokens.
    Raises DataError where the file can't be read, is empty, or a line is not UTF-8.
    """
    last = 0  # that isn't blank
    for number, row in enumerate(_rows(path), start=1):
        line = Line(path, number, "")
        line.need(len(row) <= MAX_BYTES, f"a line of at most {MAX_BYTES:,} bytes", row[:80])
        if number == 1:
            row = row.removeprefix(codecs.BOM_UTF8)
        row = row.removesuffix(b"\n").removesuffix(b"\r")
        if not row:
            continue
        try:
            text = row.decode("utf-8")
        except UnicodeDecodeError as error:
            advice = _packing(row) if number == 1 else ""
            raise line.error("UTF-8", row[max(0, error.start - 20) :], advice) from error
        yield from (Line(path, blank, "") for blank in range(last + 1, number))
        last = number
        yield Line(path, number, text)
    if not last:
        raise DataError(f"{path}: expected posts, found an empty file")


# The first bytes of files that are not UTF-8 text, and advice on each.
_PACKINGS = {
    b"\x1f\x8b": "it is packed with gzip: unpack it",
    b"BZ": "it is packed with bzip2: unpack it",
    b"\xfd7zXZ": "it is packed with xz: unpack it",
    b"\x28\xb5\x2f\xfd": "it is packed with zstd: unpack it",
    b"PK\x03\x04": "it is a zip archive or a spreadsheet: unpack or export it",
    codecs.BOM_UTF16_LE: "it is UTF-16: save it as UTF-8",
    codecs.BOM_UTF16_BE: "it is UTF-16: save it as UTF-8",
}


def _packing(start: bytes) -> str:
    return next((advice for magic, advice in _PACKINGS.items() if start.startswith(magic)), "")


def _rows(path: Path) -> Iterator[bytes]:
    """The lines with their ends. Of one that is too long only the beginning is ever in memory."""
    need_readable(path)
    try:
        with path.open("rb") as file:
            while row := file.readline(MAX_BYTES + 1):
                yield row
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error


def first_of(candidates: Iterable[Path], existing: Iterable[Path]) -> Path | None:
    """The first of the candidates that is among the existing."""
    return next((path for path in candidates if path in existing), None)


def folder_of(candidates: tuple[Path, ...], existing: tuple[Path, ...], root: Path) -> str:
    """The first candidate that exists, else the first: a folder relative to the data root.

    One folder for all files of a split, whether a file is there yet or not: where a picture is
    expected must not change with the pictures that happen to be there.
    """
    return (first_of(candidates, existing) or candidates[0]).relative_to(root).as_posix()


def is_text(value: object) -> TypeGuard[str]:
    """A string that isn't empty and can be written as UTF-8 (lone surrogates can't)."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_texts(value: object) -> TypeGuard[list[str]]:
    """A list of such strings; it may be empty."""
    return isinstance(value, list) and all(is_text(item) for item in value)


def is_name(value: object) -> TypeGuard[str]:
    """A string of one line, 255 bytes at most, without control characters."""
    return (
        is_text(value)
        and len(value.encode("utf-8")) <= 255
        and not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value)
    )


def is_file_name(value: object) -> TypeGuard[str]:
    """A name that stays in its folder: no separators, nothing a file can't be called.

    Hidden files are refused: digests skip them, so a change would go unnoticed. A colon is allowed:
    Twitter has pictures named "x.jpg:large".
    """
    return is_name(value) and not value.startswith(".") and not set(value) & set("/\\")


def is_span(value: object, tokens: int) -> bool:
    """Two integers, [start, end), inside a sentence of so many tokens and not empty."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(item) is int for item in value)
        and 0 <= value[0] < value[1] <= tokens
    )


def crop_names(path: Path | None, key: type) -> dict[Any, tuple[str, ...]] | None:
    """A published dictionary of crops, the first three of each entry; None without a file.

    key: the type of the dictionary's keys, int or str. Nothing but plain data is unpickled.
    Raises DataError naming the file where it holds anything else.
    """
    if path is None:
        return None
    entries = _load(path)
    if not isinstance(entries, dict):
        raise DataError(f"{path}: expected a dictionary, found {clip(entries)}")
    for name, crops in entries.items():
        if type(name) is not key:
            raise DataError(f"{path}: expected keys of type {key.__name__}, found {clip(name)}")
        shown = clip(name)
        if not isinstance(crops, (list, tuple)):
            raise DataError(f"{path}: expected a list of crops for {shown}, found {clip(crops)}")
        for crop in crops:
            if not is_file_name(crop):
                raise DataError(
                    f"{path}: expected plain file names for {shown}, found {clip(crop)}"
                )
    return {name: tuple(crops[:CROPS_USED]) for name, crops in entries.items()}


def _load(path: Path) -> object:
    from features.weights import DAMAGED, load_plain  # only here: texts shouldn't wait for torch

    need_readable(path)
    try:
        return load_plain(path)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: expected a dictionary of strings, found something else or a file that could "
            "run code when loaded; it was not loaded"
        ) from error
    except DAMAGED as error:
        raise DataError(f"{path}: can't be loaded: {clip(str(error))}") from error
