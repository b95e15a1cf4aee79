"""Test files of records: each line has its answer, and a killed run is resumed."""

import errno
import io
import json
import logging
import os
import signal
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipeline.corpus.files import MAX_BYTES
from pipeline.engine import files
from pipeline.errors import DataError
from pipeline.prediction import bulk
from pipeline.prediction.bulk import Input, Target, first_of, predict_file, predict_out
from pipeline.prediction.extractor import Options
from pipeline.prediction.prediction import Entity, Prediction, Relation
from pipeline.prediction.records import Record

KEY = {"models": ["sha256 0"], "options": [0.0]}


class Words:
    """Stands in for an Extractor: a text's first word is its entity."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.posts = fails_at, 0

    def stream(
        self, records: Iterable[Record | Prediction], options: Options
    ) -> Iterator[Prediction]:
        batch = list(records)
        for record in batch:
            self.posts += 1
            if self.posts == self.fails_at:
                raise KeyboardInterrupt
            yield self.answer(record, len(batch)) if isinstance(record, Record) else record

    def answer(self, record: Record, batch: int) -> Prediction:
        """Return predictions whose scores depend on the batch, as rounding errors do."""
        first = record.tokens[0]
        entity = Entity(0, len(first), "WORD", first, 1 / batch)
        return Prediction(record.text, (entity,), given=record.given, pictures=record.pictures)


def write_posts(file: Path, number: int = 50) -> Path:
    file.write_text("".join(f'{{"id": {n}, "text": "post {n} 🎉"}}\n' for n in range(number)))
    return file


def run(
    posts: Path, out: Path, extractor: Any = None, batch: int = 4, **key: Any
) -> list[dict[str, Any]]:
    target = Target(out, {**KEY, **key})
    used: Any = extractor or Words()
    predict_file(used, Input.open(str(posts)), target, Options(batch))
    return [json.loads(line) for line in out.read_text().splitlines()]


# --- every line has its answer


def answers(tmp_path: Path, content: bytes) -> list[dict[str, Any]]:
    (tmp_path / "posts.jsonl").write_bytes(content)
    return run(tmp_path / "posts.jsonl", tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "a b"}\n{"text": "c"}\n',
        b'{"text": "a b"}\n{"text": "c"}',
        b'{"text": "a b"}\r\n{"text": "c"}\r\n',
        b'\xef\xbb\xbf{"text": "a b"}\n{"text": "c"}\n',
        b'\n \n{"text": "a b"}\n\t\r\n\n{"text": "c"}\n\n\n',
    ],
    ids=["plain", "no end", "CRLF", "BOM", "blank lines"],
)
def test_lines_of_any_kind(tmp_path: Path, content: bytes) -> None:
    assert [one["text"] for one in answers(tmp_path, content)] == ["a b", "c"]


@pytest.mark.parametrize("content", [b"", b"\n\n \n", b"\xef\xbb\xbf\n", b"\r\n"])
def test_nothing_in_nothing_out(tmp_path: Path, content: bytes) -> None:
    assert answers(tmp_path, content) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", "line 2: expected a JSON object"),
        (b"nonsense", "line 2: expected a JSON object, found 'nonsense'"),
        (b'{"text": "a"', "expected the whole object on one line"),
        (b'{"text": NaN}', "expected text to be a string of characters, found nan"),
        (b'{"text": "\\ud800"}', "expected text to be a string of characters"),
        (b'{"text": "\xff"}', "line 2: expected UTF-8"),
        (b'{"id": "\\udc00", "text": "a"}', "expected id to be a string of one line"),
        (b'{"id": ' + b"9" * 5000 + b"}", "line 2: expected a JSON object"),
        (b"[" * 100_000, "line 2: expected a JSON object"),
        (b'{"text": "' + b"a" * MAX_BYTES + b'"}', "line 2: expected a line of at most 1,000,000"),
    ],
    ids=["list", "word", "cut", "nan", "surrogate", "latin-1", "id", "digits", "deep", "long"],
)
def test_a_bad_line_costs_only_itself(tmp_path: Path, line: bytes, message: str) -> None:
    first, bad, last = answers(tmp_path, b'{"text": "a"}\n' + line + b'\n{"id": 3, "text": "c"}\n')
    assert (first["text"], last["id"]) == ("a", 3)
    assert message in bad["error"]
    assert "\n" not in bad["error"]
    assert len(bad["error"]) < 400


def test_of_a_long_line_little_is_in_memory() -> None:
    rows = Input(Path("x"), io.BytesIO(b"a" * 5_000_000 + b"\nb\n"), Path())
    first = rows.row()
    assert first is not None
    assert len(first) == MAX_BYTES + 1
    assert (rows.row(), rows.row(), rows.lines) == (b"b\n", None, 2)


def test_errors_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers(tmp_path, b'{"text": "a"}\n' + b"[]\n" * 7)
    named = [m for m in caplog.messages if "expected a JSON object" in m]
    assert len(named) == 5
    assert caplog.messages[-1] == "8 posts, 7 could not be read"


def test_a_stream_gets_the_lines_of_a_file(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    run(posts, tmp_path / "out.jsonl")
    stream = io.BytesIO()
    predictions = list(predict_out(Words(), Input.open(str(posts)), stream, Options(4)))  # type: ignore[arg-type]
    assert stream.getvalue() == (tmp_path / "out.jsonl").read_bytes()
    assert len(predictions) == 50


def test_a_file_name_that_is_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A worker of pytest-xdist cannot send a captured log that is not UTF-8.
    monkeypatch.setattr(bulk.log, "disabled", True)
    posts = tmp_path / os.fsdecode(b"\xff.jsonl")
    posts.write_text("[]\n")
    [bad] = run(posts, tmp_path / "out.jsonl")
    assert "\udcff.jsonl, line 1" in bad["error"]


# --- pictures


def test_pictures_are_named_from_the_output(tmp_path: Path) -> None:
    (tmp_path / "real/pictures").mkdir(parents=True)
    (tmp_path / "real/pictures/a.jpg").touch()
    (tmp_path / "in").symlink_to("real")
    (tmp_path / "out/deep").mkdir(parents=True)
    posts = tmp_path / "in/posts.jsonl"
    lines = [{"text": "x", "picture": one} for one in ("a.jpg", "/abs.jpg", ["a.jpg", "b.jpg"])]
    posts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    there = [one["picture"] for one in run(posts, tmp_path / "out/deep/out.jsonl")]
    assert there == [
        "../../real/pictures/a.jpg",
        "/abs.jpg",
        ["../../real/pictures/a.jpg", "../../real/b.jpg"],
    ]
    here = [one["picture"] for one in run(posts, tmp_path / "real/out.jsonl")]
    assert here == [line["picture"] for line in lines]


# --- runs that did not end


def interrupted(tmp_path: Path, at: int = 30) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "posts.jsonl", tmp_path / "out.jsonl", Words(fails_at=at))


def test_a_run_goes_on_at_a_batch(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    run(posts, tmp_path / "whole.jsonl")
    interrupted(tmp_path, at=30)
    assert not (tmp_path / "out.jsonl").exists()
    rest = Words()
    run(posts, tmp_path / "out.jsonl", rest)
    assert rest.posts == 50 - 28  # batches of four
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("out.jsonl", "posts.jsonl", "whole.jsonl")
    ]


def test_counts_are_of_the_whole_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    posts = write_posts(tmp_path / "posts.jsonl")
    posts.write_text("[]\n" + posts.read_text())
    interrupted(tmp_path)
    run(posts, tmp_path / "out.jsonl")
    assert "resuming after 28 posts" in caplog.text
    assert caplog.messages[-1] == "51 posts, 1 could not be read"


@pytest.mark.parametrize(
    ("key", "edit", "differing"),
    [
        ({"models": ["sha256 1"]}, "", "with another models;"),
        ({"options": [0.5]}, "", "with another options;"),
        ({}, '{"text": "new"}\n', "with another input;"),
        ({"options": [0.5]}, "\n", "with another options and another input;"),
    ],
)
def test_lines_of_another_run_are_kept(
    tmp_path: Path, key: dict[str, Any], edit: str, differing: str
) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    interrupted(tmp_path)
    before = (tmp_path / "out.jsonl.partial").read_bytes()
    posts.write_text(edit + posts.read_text())
    with pytest.raises(DataError, match=differing):
        run(posts, tmp_path / "out.jsonl", **key)
    assert (tmp_path / "out.jsonl.partial").read_bytes() == before


def test_an_input_may_grow(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    interrupted(tmp_path)
    write_posts(posts, 60)
    assert len(run(posts, tmp_path / "out.jsonl")) == 60


def test_an_input_that_shrank_is_another(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    interrupted(tmp_path)
    write_posts(posts, 10)
    with pytest.raises(DataError, match="another input"):
        run(posts, tmp_path / "out.jsonl")


@pytest.mark.parametrize("progress", [None, "{}", "[", '{"key": {}, "mark": {"lines": 3}}'])
def test_a_file_of_somebody_else_is_kept(tmp_path: Path, progress: str | None) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    (tmp_path / "out.jsonl.partial").write_text("mine")
    if progress is not None:
        (tmp_path / "out.jsonl.progress").write_text(progress)
    with pytest.raises(DataError, match=r"out.jsonl.progress beside it, found something else"):
        run(posts, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl.partial").read_text() == "mine"


def test_one_run_writes_at_a_time(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    target = Target(tmp_path / "out.jsonl", KEY)
    with target.opened(), pytest.raises(DataError, match="another run is writing it now"):
        run(posts, tmp_path / "out.jsonl")


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(bulk.fcntl, "flock", refuse)
    assert len(run(write_posts(tmp_path / "posts.jsonl"), tmp_path / "out.jsonl")) == 50
    assert "cannot be locked on this file system" in caplog.text


def test_a_disk_that_fails_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    interrupted(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(DataError, match="Disk quota exceeded"):
            run(posts, tmp_path / "out.jsonl")
    rest = Words()
    assert len(run(posts, tmp_path / "out.jsonl", rest)) == 50
    assert rest.posts == 50 - 28


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posts = write_posts(tmp_path / "posts.jsonl")
    run(posts, tmp_path / "whole.jsonl")
    room = [1000]  # bytes

    class SmallDisk(io.FileIO):
        def write(self, data: Any) -> int:
            if room[0] == 0:
                raise OSError(28, "No space left on device")
            taken = super().write(data[: room[0]])
            room[0] -= taken
            return taken

    monkeypatch.setattr(bulk, "FileIO", SmallDisk)
    with pytest.raises(DataError, match=r"partial: cannot be written: No space left"):
        run(posts, tmp_path / "out.jsonl")
    room[0] = 10**9
    rest = Words()
    run(posts, tmp_path / "out.jsonl", rest)
    assert 0 < rest.posts < 50
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def killed(posts: Path, out: Path, lines: int) -> bool:
    """Run in a child process that is killed after a number of lines of code; True if it was."""
    child = os.fork()
    if child == 0:
        left = [lines]

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if frame.f_code.co_filename not in (bulk.__file__, files.__file__):
                return None
            left[0] -= event == "line"
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        run(posts, out)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_kill_9_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    posts, out = write_posts(tmp_path / "posts.jsonl", 10), tmp_path / "out.jsonl"
    run(posts, tmp_path / "whole.jsonl")
    monkeypatch.setattr(bulk, "SECONDS", -1.0)  # a mark after each batch

    def is_killed(lines: int) -> bool:
        """Kill a run and the run that resumes it; the third must give the lines of a single run."""
        was = killed(posts, out, lines)
        killed(posts, out, lines // 2)
        run(posts, out)
        assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert not out.with_name("out.jsonl.partial").exists()
        out.unlink()
        return was

    most = next(lines for lines in range(1, 100_000, 83) if not is_killed(lines))
    assert most > 500
    last = bisect_left(range(most), True, key=lambda lines: not is_killed(lines))
    for lines in range(last - 15, last):  # while the output is put in its place
        assert is_killed(lines)


# --- reading back


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    posts = tmp_path / "posts.jsonl"
    posts.write_text('{"id": 7, "text": "a b", "picture": "x.jpg"}\n[]\n')

    class Related(Words):
        def answer(self, record: Record, batch: int) -> Prediction:
            entities = (Entity(0, 1, "X", "a", 0.5), Entity(2, 3, "", "b"))
            relations = (Relation(0, 1, "r", 0.25),)
            return Prediction(
                record.text, entities, relations, "missing", given=record.given,
                pictures=record.pictures,
            )  # fmt: skip

    run(posts, tmp_path / "out.jsonl", Related())
    one, bad = first_of(tmp_path / "out.jsonl", 9)
    assert one.to_dict() == json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert one.pictures == (tmp_path / "x.jpg",)
    assert bad.error is not None
    assert len(first_of(tmp_path / "out.jsonl", 1)) == 1
