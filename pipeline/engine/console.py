"""The console: progress, errors in one line, and a prompt end on Ctrl-C or SIGTERM.

Messages of Luigi and warnings of libraries are shown with `--verbose` only.
"""

import errno
import io
import logging
import multiprocessing
import os
import re
import resource
import signal
import socket
import sqlite3
import sys
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

import luigi
from luigi.configuration import get_config

from pipeline.engine.stage import AS_IT_IS
from pipeline.errors import FAMILY

OURS = ("pipeline", "features", "model")
LUIGI_LOGGER = "luigi-interface"  # the logger of everything that Luigi says
SUMMARY = "Execution Summary"  # in Luigi's last message
GO_ON = "the same command goes on from what is finished"

# What the operating system refuses, and what to do about it.
_FULL = (
    "free some space (Prune --dry-run tells what can go) or give another folder with "
    f"--paths-store; then {GO_ON}"
)
_CLOSED = f"give the rights to it, or another folder with --paths-store; then {GO_ON}"
_A_FILE = "a file is in a folder's place: move it, or give another folder with --paths-store"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: f"raise the limit of a file's size (ulimit -f); then {GO_ON}",
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.ENOTDIR: _A_FILE,
    errno.EEXIST: _A_FILE,
    errno.EMFILE: f"raise the limit of open files (ulimit -n); then {GO_ON}",
    errno.ENFILE: f"the whole system has too many open; then {GO_ON}",
    errno.EIO: f"the disk may be failing; where it isn't, {GO_ON}",
}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
# Libraries that aren't Python's tell the number, or only that they couldn't write.
_NUMBERED = re.compile(r"\(os error (\d+)\)")
_UNWRITTEN = ("PytorchStreamWriter failed", "unexpected pos", "File too large", "No space left")


def line_of(error: BaseException) -> str | None:
    """An error in one line where people can do something about it; else None: show where it was."""
    line = _message(error)
    return None if line is None else "\\n".join(line.splitlines())  # a path may hold line ends


def _message(error: BaseException) -> str | None:
    if isinstance(error, FAMILY):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        where = f"{error.filename}: " if error.filename else ""
        return _refused(f"{where}{os.strerror(error.errno)}", error.errno)
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return _refused(f"the store's memory (*.sqlite): {error}", _OF_SQLITE.get(code, 0))
    text = " ".join(str(error).split())
    numbered = _NUMBERED.search(text)
    if numbered:
        return _refused(text, int(numbered[1]))
    if isinstance(error, RuntimeError) and any(sign in text for sign in _UNWRITTEN):
        return _refused(f"a file couldn't be written whole ({text[:100]})", errno.ENOSPC)
    return None


def _refused(what: str, number: int) -> str:
    advice = _ADVICE.get(number)
    return f"{what}; {advice}" if advice else what


log = logging.getLogger(__name__)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Turn the known error that a record is about, if any, into its one line."""
    error = record.exc_info[1] if record.exc_info else None
    line = line_of(error) if error is not None else None
    if line is not None:
        record.msg, record.args, record.exc_info, record.exc_text = line, (), None, None
    return line is not None


class messages(luigi.Config):
    """Options of every command that decide how much is printed."""

    use_cmdline_section = False  # the option is --verbose, not --messages-verbose

    verbose = luigi.BoolParameter(
        description="show Luigi's messages and the warnings of libraries too", always_in_help=True
    )


def _is_verbose() -> bool:
    return bool(messages().verbose)


class _Plain(logging.Filter):
    """Of Luigi's messages, pass warnings, errors and the summary; known errors become one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _in_one_line(record) or _is_verbose():
            return True
        text = record.getMessage()
        if text.startswith("Will not run ") and " due to error in " in text:
            return False  # Luigi's own text of an error that the stage has logged
        return record.levelno >= logging.WARNING or SUMMARY in text


class _Lines(logging.Formatter):
    """A line a record: progress with the time, results without it, an error as such."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.ERROR:
            return f"ERROR: {record.message}"
        if getattr(record, AS_IT_IS, False):
            return record.message
        return super().formatMessage(record)


def _bars_cleared() -> AbstractContextManager[None]:
    """Clear the progress bars, if there are any, and draw them again at the end."""
    if "tqdm" not in sys.modules:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(sys.stderr)


class _Console(logging.StreamHandler[TextIO]):
    """Prints the lines of a command on stderr; the last line of one that failed is its error.

    Luigi goes on with other stages after an error, so the error may have to be repeated. Luigi's
    summary, its last message, is hidden unless `--verbose` is given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Lines())
        self.addFilter(lambda record: _in_one_line(record) or True)
        self._last: logging.LogRecord | None = None
        self._error: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        is_summary = record.name == LUIGI_LOGGER and SUMMARY in record.getMessage()
        if not is_summary or _is_verbose():
            with _bars_cleared():
                super().emit(record)
            self._last = record
        if record.levelno >= logging.ERROR:
            self._error = record
        if is_summary and self._error is not None and self._error is not self._last:
            super().emit(self._error)


def set_up() -> None:
    """Show our own progress, and of Luigi's only what people need; end when told to."""
    logging.getLogger(LUIGI_LOGGER).addFilter(_Plain())
    if "luigi.cmdline" not in sys.modules:  # other code uses the tasks, and has its own ways
        return
    _use_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks
    get_config().set("core", "no_configure_logging", "true")  # Luigi adds no handler of its own
    handler = _Console()
    for name in (*OURS, LUIGI_LOGGER):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False
    _hide_warnings()
    threading.excepthook = _thread_failed
    _open_more_files()
    _end_when_told()


def _hide_warnings() -> None:
    """Show warnings of libraries with `--verbose` only, which is known once Luigi has parsed it."""
    show = warnings.showwarning

    def show_if_verbose(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if _is_verbose():
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_if_verbose
    if logging.lastResort is not None:  # the handler of loggers that nobody has configured
        logging.lastResort.addFilter(
            lambda record: record.levelno >= logging.ERROR or _is_verbose()
        )


def _use_utf8() -> None:
    """Start the command again in Python's UTF-8 mode unless file names are UTF-8 already.

    Posts name their pictures in UTF-8; in another encoding, such as that of LC_ALL=C, Python would
    look for other names, and find none. Output keeps the encoding that the terminal has.
    """
    if sys.getfilesystemencoding() == "utf-8" or "utf8" in sys._xoptions:
        return
    if not os.environ.get("PYTHONIOENCODING"):
        os.environ["PYTHONIOENCODING"] = f"{sys.stdout.encoding}:backslashreplace"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """A library's own thread, such as TensorBoard's writer, can meet a full disk first."""
    line = line_of(failure.exc_value) if failure.exc_value is not None else None
    if line is None:
        threading.__excepthook__(failure)
    else:
        log.error("%s", line)


def _open_more_files() -> None:
    """The soft limit of open files is often 1,024, for reasons that ended long ago."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_when_told() -> None:
    """SIGTERM and Ctrl-C end the process at once, also in the middle of a long computation.

    Nothing is tidied up: whatever a stage leaves behind at any moment is made for being found by
    the next run. A thread does it, as Python's own handlers wait for native code to return.
    """
    told = [number for number in (signal.SIGINT, signal.SIGTERM) if _heeded(number)]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for number in told:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: _as_usual(told))
    ending = threading.Thread(target=_end, args=(reader, writer, told), daemon=True)
    ending.start()


def _heeded(number: int) -> bool:
    """A command in the background of some shells is to ignore Ctrl-C."""
    return signal.getsignal(number) is not signal.SIG_IGN


def _as_usual(numbers: list[signal.Signals]) -> None:
    signal.set_wakeup_fd(-1)
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def _end(reader: socket.socket, writer: socket.socket, told: list[signal.Signals]) -> None:
    # `writer` is kept open by being held here.
    while (number := reader.recv(1)[0]) not in told:
        pass
    for child in multiprocessing.active_children():
        child.kill()
    os.write(sys.stderr.fileno(), f"\nended by {signal.Signals(number).name}; {GO_ON}\n".encode())
    os._exit(128 + number)
