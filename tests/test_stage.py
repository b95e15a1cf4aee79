"""A stage's life: killed, altered under its hands, made again, waited for."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import luigi
import pytest

from pipeline import stage
from pipeline.stage import MANIFEST, Stage, StageError, locked, partial_of


class Copy(Stage):
    """Writes what its source holds, and goes on from what is there."""

    RESUMES = True
    dataset = luigi.Parameter(default="own")
    works = 0
    during: Any = None

    def sources(self) -> dict[str, Path]:
        source = stage.data_root() / "source"
        return {"source": source} if source.exists() else {}

    def work(self, folder: Path) -> None:
        type(self).works += 1
        if not (folder / "copy").exists():
            (folder / "copy").write_text((stage.data_root() / "source").read_text())
        if type(self).during is not None:
            type(self).during()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    monkeypatch.setattr(stage, "data_root", lambda: tmp_path / "data")
    monkeypatch.setattr(stage, "store_root", lambda: tmp_path / "store")
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
    source = stage.data_root() / "source"

    def then() -> None:
        if change == "gone":
            source.unlink()
        else:
            source.write_text("other")

    monkeypatch.setattr(Copy, "during", staticmethod(then))
    with pytest.raises(StageError, match="Copy: source changed while it was read"):
        copy.run()
    assert not copy.folder.exists()


def test_an_output_that_another_process_made_is_found(copy: Copy) -> None:
    """`complete` is asked before, and what was then must not be remembered."""
    assert not copy.complete()
    luigi.task_register.Register.clear_instance_cache()
    Copy().run()
    assert copy.complete()


def test_half_written_files_of_a_killed_run_are_no_part_of_the_output(copy: Copy) -> None:
    copy.run()
    partial = partial_of(copy.folder)
    copy.folder.rename(partial)
    (partial / MANIFEST).rename(partial / f".{MANIFEST}.tmp")
    (partial / ".tmpOuCI10").touch()  # as safetensors names its own
    copy.run()
    assert copy.complete()
    assert sorted(os.listdir(copy.folder)) == ["copy", MANIFEST]


def test_a_whole_output_that_was_damaged_before_its_renaming_is_made_again(copy: Copy) -> None:
    copy.run()
    partial = partial_of(copy.folder)
    copy.folder.rename(partial)
    (partial / "copy").write_text("rotten!")
    copy.run()
    assert copy.complete()
    assert (copy.folder / "copy").read_text() == "content"


def test_who_waits_is_told_for_whom(copy: Copy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    with locked("a", "making a"):
        pass
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        with locked("a", "making a"):
            os.write(writer, b"!")
            time.sleep(0.5)
        os._exit(0)
    os.read(reader, 1)
    with locked("a", "making a"):
        pass
    os.waitpid(holder, 0)
    assert f"waiting for process {holder}, which is making a" in caplog.text
