"""The fingerprinted Luigi task: when a stage is stale, and how its output is made.

A stage's output folder is named by its fingerprint, a digest of everything that decides the
result. It is complete when its manifest is there and the files that the manifest names still have
their digests. It is made in a hidden folder beside it and renamed when it is whole.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import luigi

from features.errors import FeatureError
from pipeline.engine.digests import of_text
from pipeline.engine.files import need_space, settle, write_json
from pipeline.engine.locks import lock_name, locked
from pipeline.engine.outputs import MANIFEST, damage, partial_of
from pipeline.engine.paths import paths
from pipeline.engine.versions import versions
from pipeline.errors import StageError

FRESH = "fresh"
LEAST_SPACE = 16_000_000  # bytes that any stage may need: reports, manifests, memory of digests

log = logging.getLogger(__name__)


class Stage(luigi.Task):
    """One stage. A subclass says what decides its result, and does the work.

    A subclass gives `settings`, `sources` and `requires`, which make its key; `work`; and, where
    people should read something at the end, `lines`. Parameters with `significant=False` cannot
    change the result and are left out of the key.
    """

    # A developer raises it when the same inputs give another result; the changelog says so.
    VERSION = 1
    # Settings younger than the stage, each with its default: at its default, a setting is left out
    # of the key, so that outputs made before it existed stay fresh.
    ADDED: ClassVar[Mapping[str, Any]] = {}
    RESULT = False  # True: people asked for it by its own parameters, so Prune keeps it
    RESUMES = False  # True: what a killed run left behind is of use to the next
    IMPLIED: tuple[str, ...] = ()  # required stages that the fingerprints of others already hold
    STAGE = "Stage"  # the stage's name in keys and in the store: the class's, unless it gives one
    _visible_in_registry = False

    dataset = luigi.Parameter(description="mnre, twitter2015, twitter2017, demo, or your own")

    def __init_subclass__(cls) -> None:
        cls.STAGE = vars(cls).get("STAGE", cls.__name__)
        # Luigi offers the parameters of every class that it sees, three times a run: a class that
        # only others derive from stays hidden.
        is_base = cls.__name__.startswith("_") or cls.work is Stage.work
        cls._visible_in_registry = not is_base

    _state = ""  # why the output could not be used when last looked up, or FRESH

    # --- what a subclass gives

    def settings(self) -> dict[str, Any]:
        """Every setting that decides the result."""
        significant = {name for name, parameter in self.get_params() if parameter.significant}
        return {name: getattr(self, name) for name in sorted(significant - {"dataset"})}

    def sources(self) -> dict[str, Path]:
        """Name -> file or folder that the stage reads from outside the store."""
        return {}

    def requires(self) -> "list[Stage]":
        """The stages whose output this one reads."""
        return []

    def work(self, folder: Path) -> Iterable[Path] | None:
        """Make the output in `folder`, which exists.

        Returns files outside the folder that the output is not whole without, if any.
        """
        raise NotImplementedError

    def fills(self) -> Path | None:
        """A folder that the stage fills together with others, beside its own output."""
        return None

    def lines(self) -> list[str]:
        """Lines that people read at the end, also if the output was there before."""
        return []

    # --- what follows from it

    @classmethod
    def get_task_family(cls) -> str:
        """The name under which Luigi reads parameters and reports what ran."""
        return cls.STAGE

    task_family = property(lambda self: self.STAGE)  # the same, as Luigi's summary asks for it

    @property
    def paths(self) -> paths:
        """Where data is read and results are kept."""
        return paths()

    @property
    def name(self) -> str:
        """The stage's name in the keys of stages that require it."""
        return self.STAGE

    @cached_property
    def key(self) -> dict[str, Any]:
        """All that decides the result, in a form that people can compare."""
        settings = self.settings()
        return {
            "stage": self.STAGE,
            "version": self.VERSION,
            "dataset": self.dataset,
            "settings": {
                name: value
                for name, value in settings.items()
                if name not in self.ADDED or value != self.ADDED[name]
            },
            "sources": self._digests_of_sources(),
            "requires": {
                s.name: s.fingerprint for s in self.requires() if s.name not in self.IMPLIED
            },
        }

    def _digests_of_sources(self) -> dict[str, str]:
        return {name: self.paths.content(path) for name, path in self.sources().items()}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this result."""
        return of_text(json.dumps(self.key, sort_keys=True))[:16]

    @property
    def folder(self) -> Path:
        """Where the output lies once it is whole."""
        return self.paths.store_root / self.STAGE / f"{self.dataset}-{self.fingerprint}"

    def output(self) -> luigi.LocalTarget:
        """The manifest, written last."""
        return luigi.LocalTarget(str(self.folder / MANIFEST))

    def complete(self) -> bool:
        """Whether the output is there and unaltered; asked often, looked up until it is."""
        with self._errors_logged():
            if self._state != FRESH:
                self._state = damage(self.folder, self.paths.digests) or FRESH
            return self._state == FRESH

    def deps(self) -> Any:
        """The stages required, as Luigi asks for them."""
        with self._errors_logged():
            return super().deps()

    @contextmanager
    def _errors_logged(self) -> Iterator[None]:
        """Log an error as such: Luigi logs these only as text, from which its class is lost."""
        try:
            yield
        except Exception as error:
            log.error("%s cannot be looked up", self.STAGE, exc_info=error)
            raise

    def run(self) -> None:
        """Make the output, unless another process made it while this one waited."""
        store, rows, name = self.paths.store_root, self.fills(), lock_name(self.folder)
        # Held until the output is in its place: Prune takes rows that no output names for unused.
        filling = locked(store, rows.name, "filling the same rows") if rows else nullcontext()
        with filling, locked(store, name, what=f"making {name}"):
            self._state = ""
            if not self.complete():
                self._make()
                self._state = ""

    def _make(self) -> None:
        partial = partial_of(self.folder)
        if damage(partial, self.paths.digests) is not None:  # else only its renaming was left to do
            self._fill(partial)
        if self.folder.exists():  # damaged: complete() said so
            shutil.rmtree(self.folder)
        partial.rename(self.folder)
        settle(self.folder)

    def check_sources(self) -> None:
        """Raise StageError if a source changed since the key was made."""
        then, now = self.key["sources"], self._digests_of_sources()
        changed = [n for n in sorted(now.keys() | then.keys()) if now.get(n) != then.get(n)]
        if changed:
            raise StageError(
                f"{self.STAGE}: {', '.join(changed)} changed while it was read; run the "
                "same command again"
            )

    def _fill(self, partial: Path) -> None:
        damaged = (partial / MANIFEST).exists()  # it was whole once
        if partial.exists() and (damaged or not self.RESUMES):
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        for left in partial.rglob(".*"):  # hidden files are half written, not part of the output
            left.unlink()
        need_space(partial, LEAST_SPACE, self.STAGE)
        started = time.monotonic()
        try:
            outside = self.work(partial)
        except FeatureError as error:
            if error.file is not None and error.file.is_file():
                self.paths.digests.forget(error.file)  # the next run sees that its stage is stale
            raise
        self.check_sources()
        settle(partial)
        files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
        manifest = {
            "fingerprint": self.fingerprint,
            "key": self.key,
            "files": {
                os.path.relpath(path, partial): digest
                for path, digest in self.paths.digests.of_all([*files, *(outside or ())]).items()
            },
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "versions": versions(),
        }
        write_json(partial / MANIFEST, manifest)


@Stage.event_handler(luigi.Event.SUCCESS)
@Stage.event_handler(luigi.Event.DEPENDENCY_PRESENT)
def _log_lines(stage: Stage) -> None:
    """Luigi calls this when a stage has run, and when it had nothing to do."""
    for line in stage.lines():
        log.info("%s", line)


def upstream(last: Stage) -> list[Stage]:
    """A stage and all that it needs, each once, itself first."""
    stages = {last.name: last}
    for needed in last.requires():
        stages |= {one.name: one for one in upstream(needed)}
    return list(stages.values())
