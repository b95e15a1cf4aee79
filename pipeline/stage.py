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

from pipeline.corpus.files import leads_out
from pipeline.digests import Digests, in_a_word, of_text
from pipeline.durable import need_space, settle
from pipeline.jsonfile import read_json, write_json

MANIFEST = "manifest.json"
PARTIAL = ".{}.partial"  # an output folder that is not whole yet
FRESH = "fresh"
LEAST_SPACE = 16_000_000  # bytes that any stage may need: reports, manifests, memory of digests
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


_digests: dict[tuple[int, Path], Digests] = {}


def digests() -> Digests:
    """The digests of the present store, opened once a process."""
    ours = os.getpid(), store_root()  # SQLite's connections don't outlive a fork
    if ours not in _digests:
        _digests[ours] = Digests(store_root() / "digests.sqlite")
    return _digests[ours]


class Stage(luigi.Task):
    """One stage. A subclass says what decides its result, and does the work.

    `VERSION` is raised by a developer when the same inputs give another result. Parameters with
    `significant=False` can't change the result and are left out of the fingerprint.
    """

    VERSION = 1
    RESUMES = False  # True: what a killed run left behind is of use to the next
    IMPLIED: tuple[str, ...] = ()  # stages whose output is read, and that others' fingerprints hold

    dataset = luigi.Parameter(description="mnre, twitter2015, twitter2017, demo, or your own")

    def __init_subclass__(cls) -> None:
        # Luigi offers the parameters of every class that it sees, three times a run.
        cls._visible_in_registry = not cls.__name__.startswith("_")

    _state = ""  # why the output couldn't be used when last looked up, or FRESH

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

    def rereads(self) -> "list[Stage]":
        """Stages whose sources this one reads too."""
        return []

    def space(self) -> int:
        """About how many bytes the output will take, where that is known before the work."""
        return LEAST_SPACE

    def work(self, folder: Path) -> None:
        """Make the output in `folder`, which exists."""
        raise NotImplementedError

    def shared(self, folder: Path) -> list[Path]:
        """Files outside the folder that the output is not whole without."""
        return []

    def fills(self) -> Path | None:
        """A folder that the stage fills together with others, beside its own output."""
        return None

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
            "requires": {
                s.name: s.fingerprint for s in self.requires() if s.name not in self.IMPLIED
            },
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
        """Whether the output is there and unaltered; asked often, looked up until it is."""
        if self._state != FRESH:
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
        partial = partial_of(self.folder)
        if damage(partial) is not None:  # else only its renaming was left to do
            self._fill(partial)
        if self.folder.exists():  # damaged: complete() said so
            shutil.rmtree(self.folder)
        partial.rename(self.folder)
        settle(self.folder)

    def _check_sources(self) -> None:
        """What was read must be what the key tells of."""
        changed: list[str] = []
        for one in (self, *self.rereads()):
            then = one.key["sources"]
            now = {name: content(path) for name, path in one.sources().items()}
            changed += [n for n in sorted(now.keys() | then.keys()) if now.get(n) != then.get(n)]
        if changed:
            raise StageError(
                f"{type(self).__name__}: {', '.join(changed)} changed while it was read; run the "
                "same command again"
            )

    def _fill(self, partial: Path) -> None:
        damaged = (partial / MANIFEST).exists()  # it was whole once
        if partial.exists() and (damaged or not self.RESUMES):
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        for left in partial.rglob(".*"):  # files half written are hidden, and no part of the output
            left.unlink()
        need_space(partial, self.space(), type(self).__name__)
        started = time.monotonic()
        try:
            self.work(partial)
        except ValueError as error:
            bad = getattr(error, "file", None)
            if isinstance(bad, Path) and bad.is_file():
                digests().forget(bad)  # the next run sees that what made it is stale
            raise
        self._check_sources()
        settle(partial)
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


class StageError(ValueError):
    """A stage can't be made now. The message is one line."""


def content(path: Path) -> str:
    """What a file or folder holds, in a word: where it lies and when it was written don't count."""
    if not path.is_dir():
        return in_a_word(digests().of(path))
    if path.is_relative_to(data_root()):  # pictures: a link that is refused is as good as none
        return digests().of_folder(path, lambda link: leads_out(link, data_root()))
    return digests().of_folder(path)


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


def partial_of(folder: Path) -> Path:
    """Where an output is made, until it is whole."""
    return folder.with_name(PARTIAL.format(folder.name))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """An output folder's manifest; None where there is none, or it is no manifest."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError, RecursionError):
        return None
    whole = _has(manifest, {"files": dict, "key": dict, "made": str}) and _has(
        manifest["key"], {"dataset": str, "settings": dict, "sources": dict, "requires": dict}
    )
    return manifest if whole else None


def _has(value: Any, parts: dict[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(n), t) for n, t in parts.items())


def damage(folder: Path) -> str | None:
    """Why an output folder can't be used, in a few words; None where it is whole."""
    if not folder.exists():
        return "never made"
    manifest = read_manifest(folder)
    if manifest is None or not manifest["files"]:
        return "its manifest is missing or broken"
    if str(manifest.get("fingerprint")) not in folder.name:
        return "its manifest is another output's"
    known = digests()
    for name, digest in manifest["files"].items():
        path = os.path.join(folder, name)
        try:
            if known.of(path) != digest:
                known.forget(path)  # what is remembered may be wrong itself
                if known.of(path) != digest:
                    return f"{name} was altered"
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return f"{name} is missing"
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
            log.info("waiting for process %s, which is %s", _holder(path), what)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(path: Path) -> str:
    """The number of the process that holds a lock; it may be about to write it down."""
    for _ in range(20):
        number = path.read_text()
        if number.isdecimal() and Path("/proc", number).exists():
            return number
        time.sleep(0.02)
    return "?"


def in_use(name: str) -> bool:
    """Whether a process holds the store's lock `name`."""
    try:
        with _lock(name).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _lock(name: str) -> Path:
    return store_root() / "locks" / name
