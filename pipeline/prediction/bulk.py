"""Predict a file of records line by line; a killed run is resumed by the same command.

While it runs, `OUT.partial` holds the lines written so far, and `OUT.progress` the position in the
input. Both are removed when `OUT` is complete. Each non-blank input line has one line in `OUT`.
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
SECONDS = 1.0  # between saved marks: a killed run loses at most this and its current batch
LOG_EVERY = 30.0  # seconds between lines of progress where there is no terminal
log = logging.getLogger(__name__)


# --- the input


@dataclass
class Input:
    """Lines of a file or of standard input, read in order.

    base: the folder to which picture paths are relative.
    total: number of non-blank lines; None for a stream.
    lines: number of lines read so far.
    """

    path: Path
    stream: BinaryIO
    base: Path
    total: int | None = None
    lines: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    @classmethod
    def open(cls, name: str) -> "Input":
        """Open a file, a pipe, or "-" (standard input).

        Raises AccessError, SettingError, OSError.
        """
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
        """Digest of the lines read so far."""
        return str(self._sha256.hexdigest())

    def row(self) -> bytes | None:
        """Return the next line with its line end; None at the end of the input.

        Of a line of more than MAX_BYTES, return the first MAX_BYTES + 1.
        """
        row = part = self.stream.readline(MAX_BYTES + 1)
        if not row:
            return None
        self._sha256.update(part)
        while len(part) > MAX_BYTES and not part.endswith(b"\n"):
            part = self.stream.readline(MAX_BYTES + 1)
            self._sha256.update(part)
        self.lines += 1
        return row.removeprefix(codecs.BOM_UTF8) if self.lines == 1 else row

    def skip(self, lines: int) -> None:
        """Read on until `lines` lines have been read, or the input ends."""
        while self.lines < lines and self.row() is not None:
            pass

    def records(self, folder: Path) -> Iterator[Record | Prediction]:
        """Read each non-blank line as a record, or as a Prediction with the error of reading it.

        folder: the output's folder; picture paths in the answers are relative to it.
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
    """Return the fields that the answer repeats, with picture paths relative to `folder`."""
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
    """Return a file's path relative to a folder, with links in both folders resolved."""
    real = os.path.join(os.path.realpath(file.parent), file.name)
    return os.path.relpath(real, os.path.realpath(folder))


# --- progress


@dataclass
class Counts:
    """Counts of posts done, and of problems. pictures: pictures not used, by kind of reason."""

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
    """Shows posts per second and the time left: a bar in a terminal, else a line at times."""

    def __init__(self, total: int | None, counts: Counts) -> None:
        """Continue from `counts`, those of the posts done so far."""
        self.counts, self._total, self._first = counts, total, counts.posts
        self._named = 0
        self._began = self._logged = time.monotonic()
        self._bar = tqdm(total=total, initial=counts.posts, unit="post", disable=None)

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Count a batch, and log the errors of the first lines that could not be read."""
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
    """The position in input and output between two batches."""

    lines: int  # of the input
    sha256: str  # of these lines
    written: int  # bytes of the output
    counts: Counts


@dataclass(frozen=True)
class Target:
    """An output file during prediction. key: all that decides its lines, except the input."""

    path: Path
    key: Mapping[str, Any]

    @property
    def partial(self) -> Path:
        """The file of the lines written so far."""
        return self.path.with_name(f"{self.path.name}.partial")

    @property
    def progress(self) -> Path:
        """The JSON file of the last mark and the key."""
        return self.path.with_name(f"{self.path.name}.progress")

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """Open and lock the partial file. Raises DataError if another process writes it."""
        with FileIO(self.partial, "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self.path}: another run is writing it now; wait until it ends, or give "
                    "another --output"
                ) from error
            except OSError:  # a file system without locks
                log.warning(
                    "%s: cannot be locked on this file system; start no other run that writes it",
                    self.path,
                )
            yield file

    def begin(self, source: Input, file: FileIO) -> Mark:
        """Move input and output to the last mark of a killed run, and return the mark.

        Raises DataError if the lines so far were made from another input, model or option.
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
                f"{self.partial}: left by an unfinished run with another "
                f"{' and another '.join(differing)}; remove it to start again, or give another "
                "--output"
            )
        file.truncate(mark.written)
        return mark

    def _kept(self) -> tuple[Mark, Mapping[str, Any]]:
        """Read the last mark of a killed run, and its key. Raises DataError."""
        try:
            fields = read_json(self.progress)
            mark = Mark(**{**fields["mark"], "counts": Counts(**fields["mark"]["counts"])})
            if self.partial.stat().st_size >= mark.written:
                return mark, dict(fields["key"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        raise DataError(
            f"{self.partial}: expected the lines of an unfinished run, with {self.progress} "
            "beside it, found something else; remove it, or give another --output"
        )

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Raise an OSError of writing lines or marks as a DataError that names the file."""
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.partial}: cannot be written: {error.strerror}; once that is fixed, run "
                "the same command again to resume"
            ) from error

    def write(self, predictions: Sequence[Prediction], file: FileIO) -> int:
        """Append lines to the partial file. Returns the number of bytes. Raises DataError."""
        data = b"".join(map(as_line, predictions))
        unwritten = memoryview(data)
        with self._errors_named():
            while unwritten:
                unwritten = unwritten[file.write(unwritten) :]
        return len(data)

    def keep(self, mark: Mark, file: FileIO) -> None:
        """Save a mark once its lines are on disk. Raises DataError."""
        with self._errors_named():
            os.fsync(file.fileno())
            write_json(self.progress, {"key": dict(self.key), "mark": asdict(mark)})

    def finish(self, file: FileIO) -> None:
        """Rename the partial file to the output's name. Raises DataError."""
        with self._errors_named():
            os.fsync(file.fileno())
            self.partial.replace(self.path)
            self.progress.unlink(missing_ok=True)


def as_line(prediction: Prediction) -> bytes:
    """Return a prediction as an output line.

    Only a file's name may hold characters that UTF-8 cannot encode; they are escaped as in JSON.
    """
    return f"{prediction.to_json()}\n".encode("utf-8", "backslashreplace")


def predict_file(extractor: Extractor, source: Input, target: Target, options: Options) -> None:
    """Predict a file's lines into `target`; resume after the last mark of a killed run.

    Marks lie between batches, so a resumed run has the batches, and the scores, of one that was
    never interrupted. Raises DataError, OSError; the lines written by then are kept.
    """
    with target.opened() as file:
        last = kept = target.begin(source, file)
        if last.counts.posts:
            log.info("%s: resuming after %d posts", target.path, last.counts.posts)
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
                with suppress(DataError, OSError):  # if this fails, the previous mark holds
                    file.truncate(last.written)  # frees space for the mark on a full disk
                    target.keep(last, file)
        target.finish(file)
    log.info("%s", progress.counts)


def predict_out(
    extractor: Extractor, source: Input, out: BinaryIO, options: Options
) -> Iterator[Prediction]:
    """Predict a file's lines to a stream, and yield each prediction. Raises DataError."""
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
    """Yield the predictions of each batch; the input is then read to the end of that batch."""
    records = source.records(folder)
    while batch := list(islice(records, options.batch_size)):
        yield list(extractor.stream(batch, options))


# --- reading back


def first_of(file: Path, most: int) -> list[Prediction]:
    """Read the first `most` predictions of a file that `predict_file` wrote."""
    with file.open(encoding="utf-8") as lines:
        return [_read_back(json.loads(line), file.parent) for line in islice(lines, most)]


def _read_back(fields: dict[str, Any], folder: Path) -> Prediction:
    if "error" in fields:
        return Prediction(given={"id": fields.get("id")}, error=fields["error"])
    record = read_record(item(1), fields, folder)
    return Prediction(
        text=fields["text"],
        entities=tuple(Entity(**{"label": "", **part}) for part in fields["entities"]),
        relations=tuple(Relation(**part) for part in fields["relations"]),
        picture_status=fields["picture_status"],
        regions=tuple(
            Region(**{**part, "box": part["box"] and tuple(part["box"]), "file": None})
            for part in fields["regions"]
        ),
        truncated=fields["truncated"],
        explanation=fields.get("explanation"),
        given=record.given,
        pictures=record.pictures,
    )
