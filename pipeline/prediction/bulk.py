"""Predict a file of records into a file, line by line; a killed run goes on where it was.

Beside `OUT` a run keeps `OUT.partial`, the lines so far, and `OUT.progress`, which says how far the
input was read. Both go when the output is whole. Each line of the input that isn't blank has one
line in the output.
"""

import fcntl
import hashlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from pipeline.corpus.files import MAX_BYTES, Line
from pipeline.corpus.json_lines import read_object
from pipeline.engine.files import read_json, write_json
from pipeline.errors import NAMED, DataError
from pipeline.prediction.extractor import Extractor, Options
from pipeline.prediction.prediction import NONE, UNREAD, USED, Prediction
from pipeline.prediction.records import Record, read_record

STDIN = Path("standard input")
SECONDS = 1.0  # a killed run loses no more than this and the batch under way
LOG_EVERY = 30.0  # seconds between lines of progress where there is no terminal
log = logging.getLogger(__name__)


@dataclass
class Input:
    """Lines of a file or of standard input, read one after the other.

    `read`: lines so far; `sha256`: of their bytes.
    """

    stream: BinaryIO
    path: Path
    read: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def line(self) -> bytes | None:
        """The next line with its end, or None; of one that is too long, the beginning."""
        row = self.stream.readline(MAX_BYTES + 2)
        if not row:
            return None
        self.read += 1
        self.sha256.update(row)
        rest = row
        while len(rest) > MAX_BYTES and not rest.endswith(b"\n"):
            rest = self.stream.readline(MAX_BYTES + 2)
            self.sha256.update(rest)
        return row

    def skip(self, lines: int) -> str:
        """Read so many lines for their digest alone. Returns it."""
        while self.read < lines and self.line() is not None:
            pass
        return str(self.sha256.hexdigest())


@dataclass(frozen=True)
class Mark:
    """How far a run is: lines of the input that are done, and their digest."""

    lines: int
    sha256: str


def predict_lines(
    extractor: Extractor, source: Input, base: Path, options: Options
) -> Iterator[tuple[Prediction, Mark]]:
    """A prediction for each line that isn't blank, in order, and where the input is behind it.

    base: the folder that relative pictures are relative to. Raises DataError under
    `options.strict`; else a bad line's prediction is an error.
    """
    marks: deque[tuple[int, Any]] = deque()

    def records() -> Iterator[Record | Prediction]:
        while (row := source.line()) is not None:
            if row.strip():
                marks.append((source.read, source.sha256.copy()))
                yield _record(Line(source.path, source.read, ""), row, base)

    for prediction in extractor.stream(records(), options):
        lines, sha256 = marks.popleft()
        yield prediction, Mark(lines, sha256.hexdigest())


def _record(line: Line, row: bytes, base: Path) -> Record | Prediction:
    fields: Mapping[str, Any] = {}
    try:
        fields = read_object(_decoded(line, row))
        return read_record(line, fields, base)
    except DataError as error:
        given = {"id": fields["id"]} if type(fields.get("id")) in (int, str) else {}
        return Prediction(given=given, error=str(error))


def _decoded(line: Line, row: bytes) -> Line:
    line.need(len(row) <= MAX_BYTES, f"a line of at most {MAX_BYTES:,} bytes", row[:80])
    try:
        text = row.decode("utf-8-sig" if line.number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise line.error("UTF-8", row[max(0, error.start - 20) :][:80]) from error
    return replace(line, text=text.rstrip("\r\n"))


class Tally:
    """Counts a run's posts, shows how far it is, and says at the end what was wrong with some."""

    def __init__(self, total: int | None, done: int = 0) -> None:
        """total: posts, if it is known. done: those of a run that was killed."""
        self.posts, self.total, self.first = done, total, done
        self.errors: list[str] = []
        self.pictures: Counter[str] = Counter()  # that are not used, by the reason's kind
        self.truncated = 0
        self._began = self._logged = time.monotonic()
        self._bar = tqdm(total=total, initial=done, unit="post", disable=None)

    def add(self, prediction: Prediction) -> None:
        """Count one."""
        self.posts += 1
        self._bar.update()
        if prediction.error is not None:
            self.errors.append(prediction.error)
            if len(self.errors) <= NAMED:
                log.warning("%s", prediction.error)
        elif prediction.picture_status not in (USED, NONE, UNREAD):
            self.pictures[prediction.picture_status.partition(":")[0]] += 1
        self.truncated += prediction.truncated
        if self._bar.disable and time.monotonic() - self._logged > LOG_EVERY:
            self._logged = time.monotonic()
            log.info("%s", self._so_far())

    def _so_far(self) -> str:
        speed = (self.posts - self.first) / (time.monotonic() - self._began)
        if self.total is None:
            return f"{self.posts:,} posts, {speed:.1f} posts/s"
        left = (self.total - self.posts) / speed / 60
        return f"{self.posts:,} of {self.total:,} posts, {speed:.1f} posts/s, {left:.0f} min left"

    def close(self) -> None:
        """Log the counts."""
        self._bar.close()
        parts = [f"{self.posts:,} posts"]
        if self.errors:
            parts.append(f"{len(self.errors):,} could not be read")
        if self.pictures:
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.pictures.most_common())
            parts.append(f"{self.pictures.total():,} pictures were not used ({kinds})")
        if self.truncated:
            parts.append(f"{self.truncated:,} are longer than the model reads at once")
        log.info("%s", ", ".join(parts))


def count_lines(path: Path) -> int:
    """Lines of a file that aren't blank."""
    with path.open("rb") as file:
        return sum(bool(row.strip()) for row in file)


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
        """How far a run is, as JSON."""
        return self.path.with_name(f"{self.path.name}.progress")

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The partial file, for this process alone. Raises DataError where another writes it."""
        with self.partial.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"{self.path}: another run is writing it now; wait for it, or give another "
                    "file with --output"
                ) from error
            yield file

    def done(self, source: Input, file: BinaryIO) -> int:
        """Posts that a killed run predicted; the input is then read up to them."""
        progress = self._read()
        if not progress:
            file.truncate(0)
            return 0
        if (
            progress["key"] != dict(self.key)
            or source.skip(progress["lines"]) != progress["sha256"]
        ):
            raise DataError(
                f"{self.partial}: lines of a run with other models, options or input; remove it, "
                "or give another file with --output"
            )
        file.truncate(progress["written"])
        return int(progress["posts"])

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            progress = read_json(self.progress)
            if self.partial.stat().st_size >= progress["written"]:
                return dict(progress)
        return {}

    def mark(self, mark: Mark, posts: int, file: BinaryIO) -> None:
        """Write down how far the run is, after its lines."""
        file.flush()
        os.fsync(file.fileno())
        where = {"lines": mark.lines, "sha256": mark.sha256, "written": file.tell()}
        write_json(self.progress, {"key": dict(self.key), "posts": posts, **where})

    def finish(self) -> None:
        """Put the output in its place."""
        self.partial.replace(self.path)
        self.progress.unlink(missing_ok=True)


def predict_file(
    extractor: Extractor, source: Input, target: Target, base: Path, options: Options
) -> Iterator[Prediction]:
    """Predict a file's lines into `target`, and give each prediction too.

    Raises DataError, also for a partial file that another input, model or option made.
    """
    total = count_lines(source.path) if source.path.is_file() else None
    with target.opened() as file:
        done = target.done(source, file)
        if done:
            log.info("%s: going on after %d posts", target.path, done)
        tally, marked = Tally(total, done), time.monotonic()
        for prediction, mark in predict_lines(extractor, source, base, options):
            moved = _moved(prediction, base, target.path.parent)
            file.write(f"{moved.to_json()}\n".encode())
            tally.add(prediction)
            if time.monotonic() - marked > SECONDS:
                target.mark(mark, tally.posts, file)
                marked = time.monotonic()
            yield prediction
        file.flush()
        os.fsync(file.fileno())
        target.finish()
    tally.close()


def _moved(prediction: Prediction, base: Path, folder: Path) -> Prediction:
    """The prediction with its relative pictures relative to the output's folder."""
    named = prediction.given.get("picture")
    if named is None or base.resolve() == folder.resolve():
        return prediction
    names = [
        name if os.path.isabs(name) else os.path.relpath(source, folder)
        for name, source in zip(
            named if isinstance(named, list) else [named], prediction.pictures, strict=True
        )
        if isinstance(source, Path)
    ]
    return replace(
        prediction,
        given={**prediction.given, "picture": names if isinstance(named, list) else names[0]},
    )
