"""A stage: killed, its sources altered while it runs, made again, waited for."""

import logging
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import luigi
import pytest
from luigi.configuration import get_config

from pipeline.engine.locks import locked
from pipeline.engine.outputs import MANIFEST, partial_of
from pipeline.engine.paths import paths
from pipeline.engine.stage import Stage
from pipeline.engine.status import status
from pipeline.errors import DataError, StageError


class Copy(Stage):
    """Copies its source, and continues from what a killed run left."""

    RESUMES = True
    dataset = luigi.Parameter(default="own")
    works = 0
    during: Any = None

    def sources(self) -> dict[str, Path]:
        source = paths().data_root / "source"
        return {"source": source} if source.exists() else {}

    def work(self, folder: Path) -> None:
        type(self).works += 1
        if not (folder / "copy").exists():
            (folder / "copy").write_text((paths().data_root / "source").read_text())
        if type(self).during is not None:
            type(self).during()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    for name in ("data", "store"):
        monkeypatch.setitem(get_config()["paths"], name, str(tmp_path / name))
    monkeypatch.setattr(Copy, "works", 0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/source").write_text("content")
    luigi.task_register.Register.clear_instance_cache()
    return Copy()


def test_is_made_once(copy: Copy) -> None:
    assert not copy.complete()
    copy.run()
    copy.run()
    assert copy.complete()
    assert Copy.works == 1


@pytest.mark.parametrize("change", ["altered", "gone"])
def test_a_source_that_changes_while_it_is_read_gives_no_output(
    change: str, copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = paths().data_root / "source"

    def then() -> None:
        if change == "gone":
            source.unlink()
        else:
            source.write_text("other")

    monkeypatch.setattr(Copy, "during", staticmethod(then))
    with pytest.raises(StageError, match="Copy: source changed while it was read"):
        copy.run()
    assert not copy.folder.exists()


def test_an_output_that_another_process_made_is_used(copy: Copy) -> None:
    """`complete` was False before; that must not be remembered."""
    assert not copy.complete()
    luigi.task_register.Register.clear_instance_cache()
    Copy().run()
    assert copy.complete()


def test_half_written_files_of_a_killed_run_are_not_in_the_output(copy: Copy) -> None:
    copy.run()
    partial = partial_of(copy.folder)
    copy.folder.rename(partial)
    (partial / MANIFEST).rename(partial / f".{MANIFEST}.tmp")
    (partial / ".tmpOuCI10").touch()  # like a temporary file of safetensors
    copy.run()
    assert copy.complete()
    assert sorted(os.listdir(copy.folder)) == ["copy", MANIFEST]


def test_a_finished_output_damaged_before_its_renaming_is_made_again(copy: Copy) -> None:
    copy.run()
    partial = partial_of(copy.folder)
    copy.folder.rename(partial)
    (partial / "copy").write_text("rotten!")
    copy.run()
    assert copy.complete()
    assert (copy.folder / "copy").read_text() == "content"


def test_waiting_names_the_process(copy: Copy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    with locked(paths().store_root, "a", "making a"):
        pass
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        with locked(paths().store_root, "a", "making a"):
            os.write(writer, b"!")
            time.sleep(0.5)
        os._exit(0)
    os.read(reader, 1)
    with locked(paths().store_root, "a", "making a"):
        pass
    os.waitpid(holder, 0)
    assert f"waiting for process {holder}, which is making a" in caplog.text


class Younger(Copy):
    """The same stage after a setting was added to it."""

    STAGE = "Copy"
    ADDED: ClassVar = {"colour": "grey"}
    colour = luigi.Parameter(default="grey")


def test_a_new_setting_at_its_default_makes_nothing_stale(copy: Copy) -> None:
    copy.run()
    assert Younger().complete()
    assert Younger().fingerprint == copy.fingerprint
    red = Younger(colour="red")
    assert red.fingerprint != copy.fingerprint
    assert red.key["settings"] == {"colour": "red"}
    assert status([red]) == ["Copy is stale: colour is new (red)"]


def test_an_added_setting_without_its_default_makes_the_output_stale(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Younger, "ADDED", {})
    assert Younger().fingerprint != copy.fingerprint


def test_a_stage_s_lines_are_logged_after_a_run_and_if_it_is_fresh(
    copy: Copy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    monkeypatch.setattr(Copy, "lines", lambda self: [f"copied into {self.folder.name}"])
    for runs in (1, 1):
        caplog.clear()
        luigi.task_register.Register.clear_instance_cache()
        assert luigi.build([Copy()], local_scheduler=True, no_lock=True, log_level="ERROR")
        assert Copy.works == runs
        assert [r.message for r in caplog.records if "copied" in r.message] == [
            f"copied into {copy.folder.name}"
        ]


def test_an_error_before_the_work_is_logged_with_its_class(
    copy: Copy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Copy) -> dict[str, Path]:
        raise DataError("no source")

    monkeypatch.setattr(Copy, "sources", fails)
    with pytest.raises(DataError):
        copy.complete()
    [record] = [r for r in caplog.records if r.exc_info]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], DataError)
