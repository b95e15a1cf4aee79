"""The console: progress, one-line errors, and an immediate end on Ctrl-C or SIGTERM.

Messages of Luigi and warnings of libraries are shown only with `--verbose`.
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
LUIGI_LOGGER = "luigi-interface"  # the name of Luigi's logger
SUMMARY = "Execution Summary"  # in Luigi's last message
GO_ON = "run the same command again to continue"

# Advice for each error number of the operating system.
_FULL = (
    "free some space (Prune --dry-run lists what can be removed) or give another folder with "
    f"--paths-store; then {GO_ON}"
)
_CLOSED = f"change its permissions, or give another folder with --paths-store; then {GO_ON}"
_A_FILE = "a file is where a folder should be: move it, or give another folder with --paths-store"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: f"raise the limit on file size (ulimit -f); then {GO_ON}",
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.ENOTDIR: _A_FILE,
    errno.EEXIST: _A_FILE,
    errno.EMFILE: f"raise the limit on open files (ulimit -n); then {GO_ON}",
    errno.ENFILE: f"close other programs, which have too many files open; then {GO_ON}",
    errno.EIO: f"check the disk, which may be failing; then {GO_ON}",
}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
# Native libraries give the error number in their message, or only say that writing failed.
_NUMBERED = re.compile(r"\(os error (\d+)\)")
_UNWRITTEN = ("PytorchStreamWriter failed", "unexpected pos", "File too large", "No space left")


def line_of(error: BaseException) -> str | None:
    """Return the message of an error that the user can fix, on one line; None for a bug.

    The traceback of a bug is shown.
    """
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
        return _refused(f"a database of the store (*.sqlite): {error}", _OF_SQLITE.get(code, 0))
    text = " ".join(str(error).split())
    numbered = _NUMBERED.search(text)
    if numbered:
        return _refused(text, int(numbered[1]))
    if isinstance(error, RuntimeError) and any(sign in text for sign in _UNWRITTEN):
        return _refused(f"a file could not be written completely ({text[:100]})", errno.ENOSPC)
    return None


def _refused(what: str, number: int) -> str:
    advice = _ADVICE.get(number)
    return f"{what}; {advice}" if advice else what


log = logging.getLogger(__name__)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Replace a record's traceback by one line if the user can fix the error; return True if so."""
    error = record.exc_info[1] if record.exc_info else None
    line = line_of(error) if error is not None else None
    if line is not None:
        record.msg, record.args, record.exc_info, record.exc_text = line, (), None, None
    return line is not None


class messages(luigi.Config):
    """Options of every command that set how much is printed."""

    use_cmdline_section = False  # the option is --verbose, not --messages-verbose

    verbose = luigi.BoolParameter(
        description="also show Luigi's messages and warnings of libraries", always_in_help=True
    )


def _is_verbose() -> bool:
    return bool(messages().verbose)


class _Plain(logging.Filter):
    """Passes only warnings, errors and the summary of Luigi; shortens errors to one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _in_one_line(record) or _is_verbose():
            return True
        text = record.getMessage()
        if text.startswith("Will not run ") and " due to error in " in text:
            return False  # repeats an error that the stage has logged
        return record.levelno >= logging.WARNING or SUMMARY in text


class _Lines(logging.Formatter):
    """One line per record: progress after the time, errors after `ERROR:`, results as they are."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.ERROR:
            return f"ERROR: {record.message}"
        if getattr(record, AS_IT_IS, False):
            return record.message
        return super().formatMessage(record)


def _bars_cleared() -> AbstractContextManager[None]:
    """Hide the progress bars, if there are any, inside the `with` block."""
    if "tqdm" not in sys.modules:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(sys.stderr)


class _Console(logging.StreamHandler[TextIO]):
    """Prints the log on stderr; the last line of a failed command is its error.

    Luigi runs other stages after an error, so the error is printed again if other lines follow it.
    Luigi's summary, its last message, is hidden unless `--verbose` is given.
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
    """Set up logging, warnings, UTF-8, the limit on open files, and the signal handlers.

    Without Luigi's command line, only filter Luigi's messages: another program uses the tasks.
    """
    logging.getLogger(LUIGI_LOGGER).addFilter(_Plain())
    if "luigi.cmdline" not in sys.modules:
        return
    _use_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Escape characters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
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
    _end_on_signals()


def _hide_warnings() -> None:
    """Show warnings of libraries only with `--verbose`, which Luigi parses after this call."""
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
    """Restart the command in Python's UTF-8 mode unless file names are UTF-8 already.

    Posts name their pictures in UTF-8; in another encoding, such as that of LC_ALL=C, Python would
    look for files of other names. Output keeps the terminal's encoding.
    """
    if sys.getfilesystemencoding() == "utf-8" or "utf8" in sys._xoptions:
        return
    if not os.environ.get("PYTHONIOENCODING"):
        os.environ["PYTHONIOENCODING"] = f"{sys.stdout.encoding}:backslashreplace"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Log an error of a library's thread on one line if the user can fix it.

    TensorBoard's writer, for example, can be the first to fail on a full disk.
    """
    line = line_of(failure.exc_value) if failure.exc_value is not None else None
    if line is None:
        threading.__excepthook__(failure)
    else:
        log.error("%s", line)


def _open_more_files() -> None:
    """Raise the soft limit on open files, often only 1,024, to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_on_signals() -> None:
    """Let SIGTERM and Ctrl-C end the process at once, also during a long computation.

    Nothing is cleaned up: at any moment, the next run can continue from the files of a stage.
    A thread ends the process, as Python's own handlers wait for native code to return.
    """
    signals = [number for number in (signal.SIGINT, signal.SIGTERM) if _is_handled(number)]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: _restore(signals))
    ending = threading.Thread(target=_end, args=(reader, writer, signals), daemon=True)
    ending.start()


def _is_handled(number: int) -> bool:
    """Return False for a signal that is ignored: some shells do so for background commands."""
    return signal.getsignal(number) is not signal.SIG_IGN


def _restore(numbers: list[signal.Signals]) -> None:
    """Restore the default handlers of signals in a forked child."""
    signal.set_wakeup_fd(-1)
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def _end(reader: socket.socket, writer: socket.socket, signals: list[signal.Signals]) -> None:
    # `writer` is an argument only to keep the socket open.
    while (number := reader.recv(1)[0]) not in signals:
        pass
    for child in multiprocessing.active_children():
        child.kill()
    os.write(sys.stderr.fileno(), f"\nended by {signal.Signals(number).name}; {GO_ON}\n".encode())
    os._exit(128 + number)
