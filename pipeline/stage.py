"""The fingerprinted Luigi task: when a stage is stale, and how its output comes to be.

A stage's output folder is named by its fingerprint, a digest of everything that decides the
result. It is complete when its manifest is there and the files that the manifest names still have
their digests. It is made in a hidden folder beside it and renamed when it is whole.
"""

import fcntl
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.digests import Digests, in_a_word, of_text
from pipeline.jsonfile import read_json, write_json

MANIFEST = "manifest.json"
PARTIAL = ".{}.partial"  # an output folder that is not whole yet
FRESH = "fresh"
PYRAMIDS = "pyramids"  # the store's folder of rows, one folder a backbone
PACKAGES = ("torch", "torchvision", "transformers", "h5py", "pytorch-crf", "pillow", "numpy")
EXTRAS = ("spacy", "nltk", "timm")  # packages that may be missing

log = logging.getLogger(__name__)


class paths(luigi.Config):
    """Where data is read and results are kept."""

    data = luigi.Parameter(description="folder of the data sets")
    store = luigi.Parameter(description="folder for everything that is computed")


def data_root() -> Path:
    """Absolute path of the folder of data sets."""
    return Path(paths().data).expanduser().absolute()


def store_root() -> Path:
    """Absolute path of the folder for results."""
    return Path(paths().store).expanduser().absolute()


_digests: dict[Path, Digests] = {}


def digests() -> Digests:
    """The digests of the present store, opened once a process."""
    root = store_root()
    if root not in _digests:
        _digests[root] = Digests(root / "digests.sqlite")
    return _digests[root]


class Stage(luigi.Task):
    """One stage. A subclass says what decides its result, and does the work.

    `VERSION` is raised by a developer when the same inputs give another result. Parameters with
    `significant=False` can't change the result and are left out of the fingerprint.
    """

    VERSION = 1
    RESUMES = False  # True: what a killed run left behind is of use to the next

    dataset = luigi.Parameter(description="mnre, twitter2015, twitter2017, demo, or your own")

    _state = ""  # why the output can't be used, or FRESH; empty until looked up

    # --- what a subclass gives

    def settings(self) -> dict[str, Any]:
        """Everything set by people that decides the result."""
        significant = {name for name, parameter in self.get_params() if parameter.significant}
        return {name: getattr(self, name) for name in sorted(significant - {"dataset"})}

    def sources(self) -> dict[str, Path]:
        """Name -> file or folder that the stage reads from outside the store."""
        return {}

    def requires(self) -> "list[Stage]":
        """The stages whose output this one reads."""
        return []

    def work(self, folder: Path) -> None:
        """Make the output in `folder`, which exists."""
        raise NotImplementedError

    def shared(self, folder: Path) -> list[Path]:
        """Files outside the folder that the output is not whole without."""
        return []

    # --- what follows from it

    @property
    def name(self) -> str:
        """What a stage that needs this one calls it."""
        return type(self).__name__

    @cached_property
    def key(self) -> dict[str, Any]:
        """All that decides the result, in a form that people can compare."""
        return {
            "stage": type(self).__name__,
            "version": self.VERSION,
            "dataset": self.dataset,
            "settings": self.settings(),
            "sources": {name: content(path) for name, path in self.sources().items()},
            "requires": {s.name: s.fingerprint for s in self.requires()},
        }

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this result."""
        return of_text(json.dumps(self.key, sort_keys=True))[:16]

    @property
    def folder(self) -> Path:
        """Where the output lies once it is whole."""
        return outputs(type(self).__name__) / f"{self.dataset}-{self.fingerprint}"

    def output(self) -> luigi.LocalTarget:
        """The manifest, written last."""
        return luigi.LocalTarget(str(self.folder / MANIFEST))

    def complete(self) -> bool:
        """Whether the output is there and unaltered; asked often, looked up once."""
        if not self._state:
            self._state = damage(self.folder) or FRESH
        return self._state == FRESH

    def run(self) -> None:
        """Make the output, unless another process did while this one waited for it."""
        name = lock_name(self.folder)
        with locked(name, what=f"making {name}"):
            self._state = ""
            if not self.complete():
                self._make()
                self._state = ""

    def _make(self) -> None:
        partial = self.folder.with_name(PARTIAL.format(self.folder.name))
        if partial.exists() and not self.RESUMES:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        self.work(partial)
        files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
        manifest = {
            "fingerprint": self.fingerprint,
            "key": self.key,
            "files": {
                os.path.relpath(path, partial): digest
                for path, digest in digests().of_all(files + self.shared(partial)).items()
            },
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "versions": versions(),
        }
        write_json(partial / MANIFEST, manifest)
        if self.folder.exists():  # damaged: complete() said so
            shutil.rmtree(self.folder)
        partial.rename(self.folder)


def content(path: Path) -> str:
    """What a file or folder holds, in a word: where it lies and when it was written don't count."""
    if not path.is_dir():
        return in_a_word(digests().of(path))
    files = {file.relative_to(path).as_posix(): file for file in _files(path)}
    found = digests().of_all(files[name] for name in sorted(files))
    listing = "\n".join(f"{name} {found[files[name]]}" for name in sorted(files))
    return f"{len(files)} files, {in_a_word(of_text(listing))}"


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder; hidden ones are somebody else's."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def upstream(last: Stage) -> list[Stage]:
    """A stage and all that it needs, each once, itself first."""
    found = {last.name: last}
    for needed in last.requires():
        found |= {one.name: one for one in upstream(needed)}
    return list(found.values())


def lock_name(folder: Path) -> str:
    """The lock of an output folder."""
    return f"{folder.parent.name}-{folder.name}"


def outputs(stage: str) -> Path:
    """The folder that holds all outputs of a stage."""
    return store_root() / stage


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """An output folder's manifest; None where there is none, or it is no manifest."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "files" in manifest else None


def damage(folder: Path) -> str | None:
    """Why an output folder can't be used, in a few words; None where it is whole."""
    if not folder.exists():
        return "never made"
    manifest = read_manifest(folder)
    if manifest is None:
        return "its manifest is missing or broken"
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if digests().of(path) != digest:
            return f"{name} was altered"
    return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a figure."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        found[package] = importlib.metadata.version(package)
    for package in EXTRAS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


@contextmanager
def locked(name: str, what: str) -> Iterator[None]:
    """Hold the store's lock `name`, which dies with this process; wait for it, saying for whom."""
    path = _lock(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            log.info("waiting for process %s, which is %s", file.read().strip() or "?", what)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def in_use(name: str) -> bool:
    """Whether a process holds the store's lock `name`."""
    try:
        with _lock(name).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _lock(name: str) -> Path:
    return store_root() / "locks" / name


# --- what people read while it runs

OURS = ("pipeline", "features", "model")


def _message_for_people(error: BaseException | None) -> bool:
    """Whether an exception's text is a message to people: then a traceback only hides it."""
    return isinstance(error, ValueError) and type(error).__module__.split(".")[0] in OURS


class _Plain(logging.Filter):
    """Luigi's own records: the summary passes, chatter doesn't, our errors become one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if _message_for_people(error):
            record.msg, record.args, record.exc_info = str(error), (), None
            return True
        text = record.getMessage()
        if "Traceback" in text:  # an error before any task ran comes as text
            last = text.strip().splitlines()[-1]
            if last.split(".")[0] in OURS and ": " in last:
                record.msg, record.args = last.split(": ", 1)[1], ()
        return record.levelno >= logging.WARNING or "Execution Summary" in text


def set_up_logging() -> None:
    """Show our own progress, and of Luigi's only what people need."""
    logging.getLogger("luigi-interface").addFilter(_Plain())
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False
