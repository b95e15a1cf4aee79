"""Predict a file of records, line by line; a killed run goes on where it was.

Beside `OUT` a run keeps `OUT.partial`, the lines so far, and `OUT.progress`, how far the input is
done. Both go when `OUT` is whole. Each line of the input that isn't blank has a line in `OUT`.
"""

import codecs
import fcntl
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from features.errors import need_readable
from features.grounding import Region
from pipeline.corpus.files import MAX_BYTES, Line, is_name
from pipeline.corpus.json_lines import read_object
from pipeline.engine.files import read_json, write_json
from pipeline.errors import NAMED, DataError, SettingError
from pipeline.prediction.extractor import Extractor, Options
from pipeline.prediction.prediction import NONE, UNREAD, USED, Entity, Prediction, Relation
from pipeline.prediction.records import Record, item, read_record

STDIN = "-"
SECONDS = 1.0  # a killed run loses no more than this and the batch under way
LOG_EVERY = 30.0  # seconds between lines of progress where there is no terminal
log = logging.getLogger(__name__)


# --- the input


@dataclass
class Input:
    """Lines of a file or of standard input, read one after the other.

    base: the folder that relative pictures are relative to. total: lines that aren't blank, None
    where they cannot be counted. lines: read so far.
    """

    path: Path
    stream: BinaryIO
    base: Path
    total: int | None = None
    lines: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    @classmethod
    def open(cls, name: str) -> "Input":
        """A file, a pipe, or "-" for standard input. Raises AccessError, SettingError, OSError."""
        if name == STDIN:
            if sys.stdin is None:
                raise SettingError("expected records on standard input, found it closed")
            return cls(Path("standard input"), sys.stdin.buffer, Path())
        path = Path(name)
        need_readable(path)
        total = None
        if path.is_file():
            with path.open("rb") as file:
                rows = cls(path, file, path.parent)
                total = sum(bool(row.strip()) for row in iter(rows.row, None))
        return cls(path, path.open("rb"), path.parent, total)

    @property
    def sha256(self) -> str:
        """Digest of the lines so far."""
        return str(self._sha256.hexdigest())

    def row(self) -> bytes | None:
        """The next line with its end, or None; of one that is too long, the beginning."""
        row = rest = self.stream.readline(MAX_BYTES + 1)
        if not row:
            return None
        self._sha256.update(rest)
        while len(rest) > MAX_BYTES and not rest.endswith(b"\n"):
            rest = self.stream.readline(MAX_BYTES + 1)
            self._sha256.update(rest)
        self.lines += 1
        return row.removeprefix(codecs.BOM_UTF8) if self.lines == 1 else row

    def skip(self, lines: int) -> None:
        """Read on until so many lines are read, or the input ends."""
        while self.lines < lines and self.row() is not None:
            pass

    def records(self, folder: Path) -> Iterator[Record | Prediction]:
        """A record for each line that isn't blank, or a prediction that says why it is none.

        folder: that of the output, which pictures are named from.
        """
        for row in iter(self.row, None):
            if row.strip():
                yield _record(Line(self.path, self.lines, ""), row, self.base, folder)


def _record(line: Line, row: bytes, base: Path, folder: Path) -> Record | Prediction:
    fields: Mapping[str, Any] = {}
    try:
        fields = read_object(_decoded(line, row))
        record = read_record(line, fields, base)
    except DataError as error:
        id = fields.get("id")
        return Prediction(
            given={"id": id} if type(id) is int or is_name(id) else {}, error=str(error)
        )
    return record if _same(base, folder) else replace(record, given=_moved(record, folder))


def _decoded(line: Line, row: bytes) -> Line:
    line.need(len(row) <= MAX_BYTES, f"a line of at most {MAX_BYTES:,} bytes", row[:80])
    try:
        return replace(line, text=row.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise line.error("UTF-8", row[max(0, error.start - 20) :][:80]) from error


def _same(base: Path, folder: Path) -> bool:
    return os.path.realpath(base) == os.path.realpath(folder)


def _moved(record: Record, folder: Path) -> Mapping[str, Any]:
    """Return the fields that the answer repeats, relative pictures named from another folder."""
    named = record.given.get("picture")
    if named is None:
        return record.given
    names = named if isinstance(named, list) else [named]
    moved = [
        name if os.path.isabs(name) else _seen_from(folder, Path(str(source)))
        for name, source in zip(names, record.pictures, strict=True)
    ]
    return {**record.given, "picture": moved if isinstance(named, list) else moved[0]}


def _seen_from(folder: Path, file: Path) -> str:
    """A file's path relative to a folder, whatever links lead to either."""
    real = os.path.join(os.path.realpath(file.parent), file.name)
    return os.path.relpath(real, os.path.realpath(folder))


# --- how far a run is


@dataclass
class Counts:
    """Posts done, and what was wrong with some. pictures: not used, by the kind of the reason."""

    posts: int = 0
    errors: int = 0
    truncated: int = 0
    pictures: dict[str, int] = field(default_factory=dict)

    def add(self, prediction: Prediction) -> None:
        """Count one post."""
        self.posts += 1
        self.errors += prediction.error is not None
        self.truncated += prediction.truncated
        if prediction.picture_status not in (USED, NONE, UNREAD):
            kind = prediction.picture_status.partition(":")[0]
            self.pictures[kind] = self.pictures.get(kind, 0) + 1

    def __str__(self) -> str:
        parts = [f"{self.posts:,} posts"]
        if self.errors:
            parts.append(f"{self.errors:,} could not be read")
        if self.pictures:
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.pictures.items())
            parts.append(f"{sum(self.pictures.values()):,} pictures were not used ({kinds})")
        if self.truncated:
            parts.append(f"{self.truncated:,} are longer than the model reads at once")
        return ", ".join(parts)


class Progress:
    """Shows posts a second and the time left: a bar in a terminal, else a line now and then."""

    def __init__(self, total: int | None, counts: Counts) -> None:
        """counts: of the posts done so far; this goes on counting."""
        self.counts, self._total, self._first = counts, total, counts.posts
        self._named = 0
        self._began = self._logged = time.monotonic()
        self._bar = tqdm(total=total, initial=counts.posts, unit="post", disable=None)

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Count a batch, and name the first lines that could not be read."""
        for prediction in predictions:
            self.counts.add(prediction)
            if prediction.error is not None and self._named < NAMED:
                self._named += 1
                with tqdm.external_write_mode():
                    log.warning("%s", prediction.error)
        self._bar.update(len(predictions))
        if self._bar.disable and time.monotonic() - self._logged > LOG_EVERY:
            self._logged = time.monotonic()
            log.info("%s", self._so_far())

    def _so_far(self) -> str:
        done = self.counts.posts
        speed = (done - self._first) / (time.monotonic() - self._began)
        if self._total is None:
            return f"{done:,} posts, {speed:.1f} posts/s"
        left = tqdm.format_interval((self._total - done) / speed) if speed else "?"
        return f"{done:,} of {self._total:,} posts, {speed:.1f} posts/s, {left} left"

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


# --- the output


@dataclass(frozen=True)
class Mark:
    """A moment between two batches: the input and the output up to it."""

    lines: int
    sha256: str
    written: int  # bytes
    counts: Counts


@dataclass(frozen=True)
class Target:
    """An output file while it is made. key: what decides its lines, beside the input."""

    path: Path
    key: Mapping[str, Any]

    @property
    def partial(self) -> Path:
        """The lines so far."""
        return self.path.with_name(f"{self.path.name}.partial")

    @property
    def progress(self) -> Path:
        """The last mark and the key, as JSON."""
        return self.path.with_name(f"{self.path.name}.progress")

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """The partial file, for this process alone. Raises DataError where another writes it."""
        with FileIO(self.partial, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self.path}: another run is writing it now; wait for it, or give another "
                    "--output"
                ) from error
            except OSError:  # a file system without locks
                log.warning(
                    "%s: its file system has no locks: let no other run write it", self.path
                )
            yield file

    def begin(self, source: Input, file: FileIO) -> Mark:
        """Go to the last mark of a killed run: input and output are then behind it.

        Raises DataError for lines that another input, model or option made.
        """
        if self.partial.stat().st_size == 0:
            mark = Mark(0, source.sha256, 0, Counts())
            self.keep(mark, file)
            return mark
        mark, key = self._kept()
        source.skip(mark.lines)
        differing = [name for name in self.key if key.get(name) != self.key[name]]
        if source.sha256 != mark.sha256 or source.lines != mark.lines:
            differing.append("input")
        if differing:
            raise DataError(
                f"{self.partial}: the lines of a run that did not end, with another "
                f"{' and another '.join(differing)}; remove it to begin anew, or give another "
                "--output"
            )
        file.truncate(mark.written)
        return mark

    def _kept(self) -> tuple[Mark, Mapping[str, Any]]:
        """The last mark of a killed run, and its key. Raises DataError."""
        try:
            fields = read_json(self.progress)
            mark = Mark(**{**fields["mark"], "counts": Counts(**fields["mark"]["counts"])})
            if self.partial.stat().st_size >= mark.written:
                return mark, dict(fields["key"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        raise DataError(
            f"{self.partial}: expected the lines of a run that did not end, with {self.progress} "
            "beside it, found something else; remove it, or give another --output"
        )

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Turn what the disk says while lines or marks are written into a DataError."""
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.partial}: cannot be written: {error.strerror}; when that is mended, the "
                "same command goes on from there"
            ) from error

    def write(self, predictions: Sequence[Prediction], file: FileIO) -> int:
        """Append lines to the partial file. Returns how many bytes. Raises DataError."""
        data = b"".join(map(as_line, predictions))
        rest = memoryview(data)
        with self._errors_named():
            while rest:
                rest = rest[file.write(rest) :]
        return len(data)

    def keep(self, mark: Mark, file: FileIO) -> None:
        """Write a mark down, after its lines. Raises DataError."""
        with self._errors_named():
            os.fsync(file.fileno())
            write_json(self.progress, {"key": dict(self.key), "mark": asdict(mark)})

    def finish(self, file: FileIO) -> None:
        """Put the output in its place. Raises DataError."""
        with self._errors_named():
            os.fsync(file.fileno())
            self.partial.replace(self.path)
            self.progress.unlink(missing_ok=True)


def as_line(prediction: Prediction) -> bytes:
    """A line of output. Only a file's name may hold what UTF-8 cannot: it is escaped as in JSON."""
    return f"{prediction.to_json()}\n".encode("utf-8", "backslashreplace")


def predict_file(extractor: Extractor, source: Input, target: Target, options: Options) -> None:
    """Predict a file's lines into `target`, going on where a killed run was.

    Marks lie between batches, which are then those of a run in one go, and so are the numbers.
    Raises DataError, OSError; what is done by then is kept.
    """
    with target.opened() as file:
        last = kept = target.begin(source, file)
        if last.counts.posts:
            log.info("%s: going on after %d posts", target.path, last.counts.posts)
        progress, since = Progress(source.total, deepcopy(last.counts)), time.monotonic()
        try:
            for batch in _batches(extractor, source, target.path.parent, options):
                written = last.written + target.write(batch, file)
                progress.add(batch)
                last = Mark(source.lines, source.sha256, written, deepcopy(progress.counts))
                if time.monotonic() - since > SECONDS:
                    target.keep(last, file)
                    kept, since = last, time.monotonic()
        finally:
            progress.close()
            if last is not kept:
                with suppress(DataError, OSError):  # else the mark before it holds
                    file.truncate(last.written)  # room for the mark, if the disk is full
                    target.keep(last, file)
        target.finish(file)
    log.info("%s", progress.counts)


def predict_out(
    extractor: Extractor, source: Input, out: BinaryIO, options: Options
) -> Iterator[Prediction]:
    """Predict a file's lines to a stream. Each prediction is given too. Raises DataError."""
    progress = Progress(source.total, Counts())
    try:
        for batch in _batches(extractor, source, source.base, options):
            out.write(b"".join(map(as_line, batch)))
            out.flush()
            progress.add(batch)
            yield from batch
    finally:
        progress.close()
    log.info("%s", progress.counts)


def _batches(
    extractor: Extractor, source: Input, folder: Path, options: Options
) -> Iterator[list[Prediction]]:
    """Predictions of a batch of lines after the other; the input is read just behind them."""
    records = source.records(folder)
    while batch := list(islice(records, options.batch_size)):
        yield list(extractor.stream(batch, options))


# --- reading back


def first_of(file: Path, most: int) -> list[Prediction]:
    """The first predictions of a file that `predict_file` wrote."""
    with file.open(encoding="utf-8") as lines:
        return [_read_back(json.loads(line), file.parent) for line in islice(lines, most)]


def _read_back(fields: dict[str, Any], folder: Path) -> Prediction:
    if "error" in fields:
        return Prediction(given={"id": fields.get("id")}, error=fields["error"])
    record = read_record(item(1), fields, folder)
    return Prediction(
        text=fields["text"],
        entities=tuple(Entity(**{"label": "", **one}) for one in fields["entities"]),
        relations=tuple(Relation(**one) for one in fields["relations"]),
        picture_status=fields["picture_status"],
        regions=tuple(
            Region(**{**one, "box": one["box"] and tuple(one["box"]), "file": None})
            for one in fields["regions"]
        ),
        truncated=fields["truncated"],
        explanation=fields.get("explanation"),
        given=record.given,
        pictures=record.pictures,
    )
