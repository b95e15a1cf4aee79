"""Test one-line errors, quiet output, and the end of a command on a signal."""

import errno
import io
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from features.store import StoreError
from pipeline.engine.console import LUIGI_LOGGER, SUMMARY, _Console, _in_one_line, _Plain, line_of
from pipeline.errors import DataError
from tests.cli import HOME, LUIGI, luigi
from tests.world import write_own_data


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("posts.jsonl, line 3: expected …"), "posts.jsonl, line 3: expected …"),
        (StoreError("a.h5: 1 damaged"), "a.h5: 1 damaged"),
        (OSError(errno.ENOSPC, "", "/s/a.h5"), "/s/a.h5: No space left on device; free some space"),
        (PermissionError(errno.EACCES, "", "/s"), "/s: Permission denied; change its permissions"),
        (OSError(errno.EROFS, "", "/s"), "/s: Read-only file system; change its permissions"),
        (
            OSError(errno.ENOTDIR, "", "/s"),
            "/s: Not a directory; a file is where a folder should be",
        ),
        (OSError(errno.EEXIST, "", "/s"), "/s: File exists; a file is where a folder should be"),
        (OSError(errno.EMFILE, "", "/s"), "/s: Too many open files; raise the limit"),
        (FileNotFoundError(errno.ENOENT, "", "/s"), "/s: No such file or directory"),
        (FileNotFoundError(errno.ENOENT, "", "/a\nb"), "/a\\nb: No such file or directory"),
        (DataError("/a\nb: expected posts"), "/a\\nb: expected posts"),
        (SafetensorError("I/O error: No space left (os error 28)"), "I/O error: No space left"),
        (
            RuntimeError("PytorchStreamWriter failed writing"),
            "a file could not be written completely",
        ),
    ],
)
def test_what_people_can_mend_is_one_line(error: Exception, line: str) -> None:
    told = line_of(error)
    assert told is not None
    assert told.startswith(line)
    assert "\n" not in told


def test_a_full_memory_file_is_one_line() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert "free some space" in str(line_of(error))


@pytest.mark.parametrize("error", [ValueError("our mistake"), RuntimeError("x"), KeyError("x")])
def test_our_own_mistakes_keep_their_traceback(error: Exception) -> None:
    assert line_of(error) is None


def test_the_text_of_an_error_that_its_stage_has_logged_is_not_shown() -> None:
    try:
        raise PermissionError(errno.EACCES, "Permission denied", "/s")
    except PermissionError as error:
        text = (
            f"Will not run Copy() or any dependencies due to error in complete() method:\n{error}"
        )
        logged = (type(error), error, error.__traceback__)
    record = logging.LogRecord("luigi-interface", logging.WARNING, "", 0, text, (), None)
    assert not _Plain().filter(record)
    record = logging.LogRecord("pipeline", logging.ERROR, "", 0, "no Copy", (), logged)
    assert _in_one_line(record)
    assert record.getMessage().startswith("/s: Permission denied; change its permissions")
    assert record.exc_info is None


def printed(*records: tuple[str, int, str]) -> list[str]:
    """Return the console's output for records, each a logger's name, a level and a message."""
    console = _Console()
    console.stream = io.StringIO()
    for name, level, text in records:
        console.handle(logging.LogRecord(name, level, "", 0, text, (), None))
    return console.stream.getvalue().splitlines()


END = (LUIGI_LOGGER, logging.INFO, f"\n== {SUMMARY} ==\nThis progress looks :(")


def test_an_error_is_repeated_where_other_lines_follow_it() -> None:
    error, line = (LUIGI_LOGGER, logging.ERROR, "no room"), ("pipeline", logging.INFO, "epoch 1/12")
    assert printed(error, line, END)[-1] == "ERROR: no room"


def test_an_error_that_is_the_last_line_is_printed_once() -> None:
    line, error = ("pipeline", logging.INFO, "epoch 1/12"), (LUIGI_LOGGER, logging.ERROR, "no room")
    assert printed(line, error, END)[1:] == ["ERROR: no room"]


def test_luigis_own_messages_are_for_verbose(tmp_path: Path) -> None:
    quiet = luigi("Recipes", store=tmp_path)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    verbose = luigi("Recipes", "--verbose", store=tmp_path)
    assert SUMMARY in verbose.stderr
    assert verbose.stdout == quiet.stdout


@pytest.mark.parametrize("verbose", [False, True])
def test_warnings_of_libraries_are_for_verbose(verbose: bool) -> None:
    code = (
        "import luigi.cmdline, tasks, logging, warnings\n"
        f"luigi.configuration.get_config().set('messages', 'verbose', '{verbose}')\n"
        "warnings.warn('old')\n"
        "logging.getLogger('library').warning('odd')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert ("UserWarning: old" in run.stderr, "odd" in run.stderr) == (verbose, verbose)


def test_each_stage_is_logged_as_made_or_fresh(tmp_path: Path) -> None:
    write_own_data(tmp_path / "data", posts=(2, 1, 1))
    options = {"data": tmp_path / "data", "store": tmp_path / "store"}
    first, second = (luigi("ReadPosts", "--dataset", "own", **options) for _ in range(2))
    assert "making ReadPosts" in first.stderr
    assert second.stderr.split(" ", 1)[1] == "ReadPosts is fresh\n"


def test_an_error_is_the_last_line_of_a_command(tmp_path: Path) -> None:
    run = luigi("ReadPosts", "--dataset", "nothing", data=tmp_path, store=tmp_path / "store")
    assert run.returncode == 35
    assert run.stderr.startswith("ERROR: no texts of nothing: looked for ")
    assert run.stderr.count("\n") == 1


def test_a_store_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    write_own_data(tmp_path / "data", posts=(2, 1, 1))
    (tmp_path / "store").write_text("a file where the store's folder should be")
    run = luigi("ReadPosts", "--dataset", "own", data=tmp_path / "data", store=tmp_path / "store")
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert f"{tmp_path / 'store'}" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command(number: signal.Signals, tmp_path: Path) -> None:
    """The signal arrives in native code, during which Python's own handlers do not run."""
    computing = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
    code = f"import hashlib, luigi.cmdline, tasks; print('ready', flush=True); {computing}"
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=HOME,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    started = time.monotonic()
    running.send_signal(number)
    _, message = running.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert running.returncode == 128 + number
    assert message.strip() == (f"ended by {number.name}; run the same command again to continue")


def test_other_code_that_uses_the_tasks_keeps_its_own_handlers() -> None:
    code = "import signal, tasks; assert signal.getsignal(15) is signal.SIG_DFL"
    subprocess.run([sys.executable, "-c", code], cwd=HOME, check=True)


def test_few_open_files_are_enough(tmp_path: Path) -> None:
    write_own_data(tmp_path / "data", posts=(6, 1, 1))
    options = ("--weights random --backbone resnet18 --size 64 --dataset own").split()
    command = [str(LUIGI), "--module", "tasks", "ExtractPyramid", *options]
    paths = ["--paths-data", str(tmp_path / "data"), "--paths-store", str(tmp_path / "store")]
    shell = 'ulimit -n 40; exec "$@"'
    run = subprocess.run(
        ["bash", "-c", shell, "bash", *command, *paths],
        cwd=HOME, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "8 pictures" in run.stderr


def test_too_large_a_file_is_one_line_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: it fails in the middle of a write."""
    write_own_data(tmp_path / "data", posts=(6, 1, 1))
    options = ("--weights random --backbone resnet18 --size 64 --dataset own").split()
    command = [str(LUIGI), "--module", "tasks", "ExtractPyramid", *options]
    paths = ["--paths-data", str(tmp_path / "data"), "--paths-store", str(tmp_path / "store")]
    shell = 'ulimit -f 100; exec "$@"'  # kilobytes: a shard of 33 rows takes 260
    run = subprocess.run(
        ["bash", "-c", shell, "bash", *command, *paths], cwd=HOME, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert "File too large; raise the limit on file size" in run.stderr
    rows = [file.name for file in (tmp_path / "store/pyramids").rglob("*") if file.is_file()]
    assert rows == []
    again = subprocess.run([*command, *paths], cwd=HOME, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
