"""Shared parts of the readers: places of files, numbered lines, checks of values."""

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

MAX_BYTES = 1_000_000  # of a line or small file: parsing a literal needs 500 times the memory
CROPS_USED = 3  # the first crops of a post are used, as published crops have no scores


class _Short(reprlib.Repr):
    """Shows plain values; of others, such as tensors of many lines, only the type."""

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, bytes):
            return repr(x[:80])
        return repr(x) if x is None or isinstance(x, (bool, float)) else f"<{type(x).__name__}>"


_REPR = _Short()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80


@dataclass(frozen=True)
class Layout:
    """The places of a data set's files and folders, as far as they exist."""

    dataset: str
    root: Path  # the data root: file names in a Post are relative to it
    texts: dict[str, Path]  # by split; own data has one file, under "all"
    extras: tuple[Path, ...] = ()  # other files that decide the posts' content
    pictures: tuple[Path, ...] = ()  # folders
    crops: tuple[Path, ...] = ()  # folders
    folders: tuple[str, ...] = ()  # of a published data set's pictures and crops, there or not
    released: bool = False  # True: every split has a dictionary of published crops

    @property
    def own(self) -> bool:
        """True if the posts are in `posts.jsonl`, whose reading depends on settings."""
        return "all" in self.texts

    def picture_files(self) -> list[Path]:
        """Return the folders of pictures and crops, without those inside another one.

        A folder that is a link stays: it may lead anywhere.
        """
        folders = (*self.pictures, *self.crops)
        within = [f for f in folders if any(parent in folders for parent in f.parents)]
        return [f for f in folders if f not in within or f.is_symlink()]


@dataclass(frozen=True)
class Places:
    """Possible places of the files that belong to one split's text, the preferred one first."""

    pictures: tuple[Path, ...]  # folders
    crops: tuple[Path, ...] = ()  # folders
    dictionaries: tuple[Path, ...] = ()  # files that name the crops
    labels: tuple[Path, ...] = ()  # files that number the relations


@dataclass(frozen=True)
class Line:
    """One line of a file, without its end; `number` counts from 1.

    start: the line's first byte, counted from the start of the file.
    """

    path: Path
    number: int
    text: str
    start: int = 0

    @property
    def place(self) -> str:
        """The file and line number, for messages."""
        return f"{self.path}, line {self.number}"

    def error(self, expected: str, found: object, advice: str = "") -> DataError:
        """Return an error about this line. advice: what to do, at the end of the message."""
        end = f"; {advice}" if advice else ""
        return DataError(f"{self.place}: expected {expected}, found {clip(found)}{end}")

    def need(self, ok: bool, expected: str, found: object, advice: str = "") -> None:
        """Raise the error about this line unless `ok`."""
        if not ok:
            raise self.error(expected, found, advice)


def clip(value: object) -> str:
    """Show a value as `repr` does, in at most 80 characters without control characters."""
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of too many digits to print
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def lines(path: Path, what: str = "posts") -> Iterator[Line]:
    r"""Yield the lines of a UTF-8 file, without blank lines at its end.

    what: the file's content, for the message about an empty file.

    Only "\n" and "\r\n" end a line: other characters that Python takes for a line end or a space
    occur as tokens. Raises DataError if the file cannot be read or is empty, or a line is not
    UTF-8.
    """
    last = 0  # number of the last line that isn't blank
    end = 0  # of the line, in bytes
    for number, row in enumerate(_rows(path), start=1):
        start, end = end, end + len(row)
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
        yield Line(path, number, text, start)
    if not last:
        raise DataError(f"{path}: expected {what}, found an empty file")


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
    """Yield the lines with their ends; of a line that is too long, only the beginning is read."""
    need_readable(path)
    try:
        with path.open("rb") as file:
            while row := file.readline(MAX_BYTES + 1):
                yield row
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def first_of(candidates: Iterable[Path], existing: Iterable[Path]) -> Path | None:
    """Return the first of the candidates that is among the existing, or None."""
    return next((path for path in candidates if path in existing), None)


def folder_of(candidates: tuple[Path, ...], existing: tuple[Path, ...], root: Path) -> str:
    """Return the first candidate that exists, else the first one, relative to the data root.

    All files of a split are expected in this folder, so that a picture's path does not depend on
    which pictures are present.
    """
    return (first_of(candidates, existing) or candidates[0]).relative_to(root).as_posix()


def is_text(value: object) -> TypeGuard[str]:
    """Return True for a string that isn't empty and can be encoded (lone surrogates can't)."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_texts(value: object) -> TypeGuard[list[str]]:
    """Return True for a list, possibly empty, of strings as in `is_text`."""
    return isinstance(value, list) and all(is_text(item) for item in value)


def is_name(value: object) -> TypeGuard[str]:
    """Return True for a string of one line, at most 255 bytes, without control characters."""
    return (
        is_text(value)
        and len(value.encode("utf-8")) <= 255
        and not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value)
    )


def is_file_name(value: object) -> TypeGuard[str]:
    """Return True for a possible file name without a separator, so that it stays in its folder.

    Hidden files are refused: digests skip them, so a change would go unnoticed. A colon is allowed:
    Twitter has pictures named "x.jpg:large".
    """
    return is_name(value) and not value.startswith(".") and not set(value) & set("/\\")


def is_span(value: object, tokens: int) -> bool:
    """Return True for a span [start, end) of integers, not empty, within so many tokens."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(item) is int for item in value)
        and 0 <= value[0] < value[1] <= tokens
    )


def crop_names(path: Path | None, key: type) -> dict[Any, tuple[str, ...]] | None:
    """Load a published dictionary of crops: the first CROPS_USED names of each entry.

    Only plain data is unpickled. Raises DataError, with the file's name, for any other content.

    path: the file; None gives None.
    key: the type of the dictionary's keys, int or str.
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
    from features.weights import DAMAGED, load_plain  # imported here because it loads torch

    need_readable(path)
    try:
        return load_plain(path)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: expected a dictionary of strings, found something else or a file that could "
            "run code when loaded; it was not loaded"
        ) from error
    except DAMAGED as error:
        raise DataError(f"{path}: cannot be loaded: {clip(str(error))}") from error
