"""The fingerprinted Luigi task: it decides when a stage is stale and makes its output.

A stage's output folder is named by its fingerprint, a digest of everything that decides the
result. The output is complete if its manifest exists and the files that it lists still have the
digests given there. It is made in a hidden folder, which is renamed when the output is complete.
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
from luigi.cmdline_parser import CmdlineParser

from features.errors import FeatureError
from pipeline.engine.digests import of_text
from pipeline.engine.files import need_space, settle, write_json
from pipeline.engine.locks import lock_name, locked
from pipeline.engine.outputs import MANIFEST, damage, partial_of
from pipeline.engine.paths import paths
from pipeline.engine.versions import versions
from pipeline.errors import StageError

FRESH = "fresh"
LEAST_SPACE = 16_000_000  # bytes that any stage may need for reports, manifests, stored digests
AS_IT_IS = "as_it_is"  # on a log record: the console prints it without the time

log = logging.getLogger(__name__)


class Stage(luigi.Task):
    """One stage. A subclass declares what decides its result, and does the work.

    A subclass defines `settings`, `sources` and `requires`, which form its key; `work`; and
    `lines` if it reports something at the end. Parameters with `significant=False` cannot change
    the result and are left out of the key.
    """

    # Raise it when the same inputs give a different result, and say so in the changelog.
    VERSION = 1
    # Settings added after the stage was first released, each with its default. A setting at its
    # default is left out of the key, so that outputs made before it existed stay fresh.
    ADDED: ClassVar[Mapping[str, Any]] = {}
    RESULT = False  # True: the user requests it with parameters of its own, so Prune keeps it
    KEPT = False  # True: Prune removes neither its outputs nor other outputs whose files they list
    RESUMES = False  # True: the next run reuses what a killed run left behind
    IMPLIED: tuple[str, ...] = ()  # required stages that another one's fingerprint covers
    STAGE = "Stage"  # the stage's name in keys and in the store; by default the class name
    _visible_in_registry = False

    dataset = luigi.Parameter(description="mnre, twitter2015, twitter2017, demo, or your own")

    def __init_subclass__(cls) -> None:
        cls.STAGE = vars(cls).get("STAGE", cls.__name__)
        # Luigi reads the parameters of every visible class, three times a run, so base classes
        # are hidden from it.
        is_base = cls.__name__.startswith("_") or cls.work is Stage.work
        cls._visible_in_registry = not is_base

    _reported = False  # its lines are logged already
    _state = ""  # FRESH, or why the output was unusable when it was last checked

    # --- defined by subclasses

    def settings(self) -> dict[str, Any]:
        """Return every setting that decides the result, by name."""
        significant = {name for name, parameter in self.get_params() if parameter.significant}
        return {name: getattr(self, name) for name in sorted(significant - {"dataset"})}

    def sources(self) -> dict[str, Path]:
        """Return the files and folders that the stage reads from outside the store, by name."""
        return {}

    def requires(self) -> "list[Stage]":
        """Return the stages whose outputs this stage reads."""
        return []

    def work(self, folder: Path) -> Iterable[Path] | None:
        """Make the output in `folder`, which exists.

        Returns the files outside `folder` that belong to the output, if any.
        """
        raise NotImplementedError

    def fills(self) -> Path | None:
        """Return the folder, shared with other stages, that this stage adds rows to, if any."""
        return None

    def lines(self) -> list[str]:
        """Return the lines to log at the end, also if the output existed already."""
        return []

    # --- derived from these

    @classmethod
    def get_task_family(cls) -> str:
        """Return the name under which Luigi reads parameters and reports what ran."""
        return cls.STAGE

    task_family = property(lambda self: self.STAGE)  # the same, for Luigi's summary

    @property
    def paths(self) -> paths:
        """The folders of data and results."""
        return paths()

    @property
    def name(self) -> str:
        """The stage's name in the keys of stages that require it."""
        return self.STAGE

    @property
    def title(self) -> str:
        """The stage's name on the console."""
        return self.STAGE

    @cached_property
    def key(self) -> dict[str, Any]:
        """Everything that decides the result, in a readable form."""
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
                stage.name: stage.fingerprint
                for stage in self.requires()
                if stage.name not in self.IMPLIED
            },
        }

    def _digests_of_sources(self) -> dict[str, str]:
        return {name: self.paths.content(path) for name, path in self.sources().items()}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the result."""
        return of_text(json.dumps(self.key, sort_keys=True))[:16]

    @property
    def folder(self) -> Path:
        """The folder of the finished output."""
        return self.paths.store_root / self.STAGE / f"{self.dataset}-{self.fingerprint}"

    def output(self) -> luigi.LocalTarget:
        """Return the manifest, which is written last."""
        return luigi.LocalTarget(str(self.folder / MANIFEST))

    def complete(self) -> bool:
        """Return True if the output exists unaltered. Luigi asks often, so True is remembered."""
        with self._errors_logged():
            if self._state != FRESH:
                self._state = damage(self.folder, self.paths.digests) or FRESH
            return self._state == FRESH

    def deps(self) -> Any:
        """Return the required stages to Luigi."""
        with self._errors_logged():
            return super().deps()

    @contextmanager
    def _errors_logged(self) -> Iterator[None]:
        """Log an exception with its class: Luigi itself would log only the text."""
        try:
            yield
        except Exception as error:
            log.error("cannot check the output of %s", self.STAGE, exc_info=error)
            raise

    def run(self) -> None:
        """Make the output, unless another process made it while this one waited."""
        store, rows, name = self.paths.store_root, self.fills(), lock_name(self.folder)
        # Held until the output is in place: Prune removes rows that no output names.
        filling = locked(store, rows.name, "filling the same rows") if rows else nullcontext()
        with filling, locked(store, name, what=f"making {name}"):
            self._state = ""
            if not self.complete():
                self._make()
                self._state = ""

    def _make(self) -> None:
        log.info("making %s", self.title)
        partial = partial_of(self.folder)
        if damage(partial, self.paths.digests) is not None:  # else it only needs to be renamed
            self._fill(partial)
        if self.folder.exists():  # damaged, else complete() would have been true
            shutil.rmtree(self.folder)
        partial.rename(self.folder)
        settle(self.folder)

    def check_sources(self) -> None:
        """Raise StageError if a source changed since the key was computed."""
        then, now = self.key["sources"], self._digests_of_sources()
        names = sorted(now.keys() | then.keys())
        changed = [name for name in names if now.get(name) != then.get(name)]
        if changed:
            raise StageError(
                f"{self.STAGE}: {', '.join(changed)} changed while it was read; run the "
                "same command again"
            )

    def _fill(self, partial: Path) -> None:
        damaged = (partial / MANIFEST).exists()  # it was finished, and altered since
        if partial.exists() and (damaged or not self.RESUMES):
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        for unfinished in partial.rglob(".*"):  # hidden files are half written
            unfinished.unlink()
        need_space(partial, LEAST_SPACE, self.STAGE)
        started = time.monotonic()
        try:
            outside = self.work(partial)
        except FeatureError as error:
            if error.file is not None and error.file.is_file():
                self.paths.digests.forget(error.file)  # so the next run computes its digest again
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


@Stage.event_handler(luigi.Event.DEPENDENCY_PRESENT)
def _log_fresh(stage: Stage) -> None:
    """Log once that a stage has nothing to do, and its lines."""
    if not stage._reported:
        log.info("%s is %s", stage.title, FRESH)
        _log_lines(stage)


@Stage.event_handler(luigi.Event.SUCCESS)
def _log_lines(stage: Stage) -> None:
    """Log a stage's lines after it ran; of a stage that another one needs, only the first."""
    parser = CmdlineParser.get_instance()
    is_asked_for = parser is None or parser.get_task_obj() == stage
    for line in stage.lines()[: None if is_asked_for else 1]:
        log.info("%s", line, extra={AS_IT_IS: True})
    stage._reported = True


def upstream(last: Stage) -> list[Stage]:
    """Return a stage and all stages that it depends on, each once, the stage itself first."""
    stages = {last.name: last}
    for required in last.requires():
        stages |= {stage.name: stage for stage in upstream(required)}
    return list(stages.values())
