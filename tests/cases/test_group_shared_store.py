"""The case `group-shared-store`: two members of a group fill one store, stage by stage."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import luigi
import pytest
from luigi.configuration import get_config

import tasks
from pipeline.engine.paths import paths
from pipeline.engine.prune import prune
from pipeline.engine.stage import Stage, upstream
from pipeline.engine.status import status
from tests.members import FIRST, GROUP, SECOND, group_folder, having, lacking, member, only_root
from tests.tiny import SHARED

CASE = SHARED / "cases" / "group-shared-store"
pytestmark = [only_root, pytest.mark.skipif(not CASE.exists(), reason="the case is not there")]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The group's store beside the case's data, as luigi.cfg names both."""
    with group_folder() as folder:
        shutil.copytree(CASE / "data", folder / "data")
        store = folder / "store"
        store.mkdir()
        os.chown(store, -1, GROUP)
        store.chmod(0o2775)
        monkeypatch.setitem(get_config()["paths"], "data", str(folder / "data"))
        monkeypatch.setitem(get_config()["paths"], "store", str(folder / "warm"))
        run("one")  # imports what the members may not be able to
        monkeypatch.setitem(get_config()["paths"], "store", str(store))
        yield store


def extraction(dataset: str) -> Stage:
    """The data set's ExtractPyramid, as a command that has just begun sees it."""
    luigi.task_register.Register.clear_instance_cache()
    return tasks.ExtractPyramid(
        dataset=dataset, backbone="resnet18", weights="random", size=64, device="cpu"
    )


def run(dataset: str) -> None:
    """What Luigi does for ExtractPyramid."""
    for stage in reversed(upstream(extraction(dataset))):
        if not stage.complete():
            stage.run()


def test_both_write(store: Path) -> None:
    for user, dataset in ((FIRST, "one"), (SECOND, "two"), (FIRST, "two")):
        with member(user, umask=0o002):
            run(dataset)
        assert lacking(store, files=0o060, folders=0o070) == []
        assert having(store, 0o002) == []
    assert len(list((store / "ExtractPyramid").iterdir())) == 2


def test_one_writes_and_the_other_reads(store: Path) -> None:
    with member(FIRST, umask=0o022):
        run("one")
    assert having(store, 0o022) == []
    with member(SECOND, umask=0o022):
        run("one")  # fresh: nothing to do
        lines = status(reversed(upstream(extraction("one"))))
        assert [line.split(":")[0] for line in lines] == [
            f"{name} is fresh" for name in ("ReadPosts", "GroundCrops", "ExtractPyramid")
        ]
        lines = status(reversed(upstream(extraction("two"))))
        assert lines[0] == "ReadPosts is stale: never made"
        with pytest.raises(PermissionError, match="locks"):
            run("two")


def pruned(dry_run: bool = False) -> list[str]:
    luigi.task_register.Register.clear_instance_cache()
    return prune(paths(), tasks.STAGES, tasks.stages_of, results=False, dry_run=dry_run)


def test_prune_names_what_another_member_owns_and_goes_on(store: Path) -> None:
    for user, umask, dataset in ((FIRST, 0o002, "two"), (FIRST, 0o022, "one")):
        with member(user, umask):
            run(dataset)
    for folder in [*store.glob("*/two-*"), *store.glob("*/"), *store.glob("pyramids/*")]:
        folder.chmod(0o2775)
    with member(SECOND, umask=0o022):
        said = [pruned(dry_run=True), pruned()]
    assert len(list((store / "ExtractPyramid").glob("one-*/*"))) > 1  # whole
    assert not list((store / "ExtractPyramid").glob("two-*"))
    for lines in said:
        assert any(
            line.startswith("ExtractPyramid/one-")
            and line.endswith("chmod -R g+w, or ask its owner to run Prune)")
            for line in lines
        )
        assert not any(line.startswith("pyramids/") for line in lines)  # one's index names the rows
    with member(FIRST, umask=0o022):
        assert "nothing removed" not in "".join(pruned())
    assert not list((store / "ExtractPyramid").glob("*"))


def test_prune_leaves_rows_in_a_folder_that_is_another_members(store: Path) -> None:
    with member(FIRST, umask=0o022):
        run("one")
    (output,) = (store / "ExtractPyramid").glob("one-*")
    shutil.rmtree(output)
    with member(SECOND, umask=0o022):
        assert [line.split(" (")[0] for line in pruned()[:1]] == [
            f"pyramids/{next((store / 'pyramids').iterdir()).name}: nothing removed"
        ]
    assert list(store.glob("pyramids/*/*.h5"))


def test_status_does_not_call_closed_outputs_stale(store: Path) -> None:
    with member(FIRST, umask=0o002):
        run("one")
    (store / "GroundCrops").chmod(0)
    with member(SECOND, umask=0o002):
        lines = status(reversed(upstream(extraction("one"))))
    assert "stale" not in "".join(lines)
    assert lines[1].startswith(f"GroundCrops is not known: {store}/GroundCrops")
    assert "ask its owner for read permission" in lines[1]
