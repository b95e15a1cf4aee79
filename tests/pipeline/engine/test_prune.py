"""Status and Prune on stores in which runs were interrupted or outputs damaged."""

import fcntl
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.world import EXTRACT, OWN_EXTRACT, World, make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A data set with extracted pyramids."""
    world = make_world(tmp_path_factory.mktemp("made"), posts=(6, 1, 1))
    world.result("ExtractPyramid", *OWN_EXTRACT)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy of that data set and its store."""
    for folder in (made.data, made.store):
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    return World(tmp_path / "data", tmp_path / "store")


def test_rows_of_an_unfinished_extraction_are_kept(world: World) -> None:
    """The extraction was killed before it wrote its index, or its manifest was emptied."""
    output = world.output("ExtractPyramid")
    (output / "manifest.json").write_text("")
    assert world.status(*EXTRACT)["ExtractPyramid"] == "stale: its manifest is missing or broken"
    printed = world.printed("Prune", *EXTRACT)
    assert "nothing removed (not yet finished)" in printed
    assert len(world.shards()) == 1
    output.rename(output.with_name(f".{output.name}.partial"))
    assert world.status(*EXTRACT)["ExtractPyramid"] == (
        "stale: never made (a run was interrupted; what it finished is kept)"
    )
    world.printed("Prune", *EXTRACT)
    assert len(world.shards()) == 1
    assert output.with_name(f".{output.name}.partial").exists()


def test_rows_are_kept_if_the_data_set_is_missing(world: World) -> None:
    output = world.output("ExtractPyramid")
    output.rename(output.with_name(f".{output.name}.partial"))
    (output.with_name(f".{output.name}.partial") / "manifest.json").unlink()
    world.data.rename(world.data.with_name("away"))
    printed = world.printed("Prune", *EXTRACT)
    assert "own: nothing removed (no texts of own" in printed
    assert len(world.shards()) == 1


def test_rows_of_a_running_extraction_are_kept(world: World) -> None:
    output = world.output("ExtractPyramid")
    (output / "manifest.json").unlink()
    rows = world.shards()[0].parent
    with (world.store / "locks" / rows.name).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        printed = world.printed("Prune", "--ExtractPyramid-weights", "random")  # needs other rows
    assert f"pyramids/{rows.name}: nothing removed" in printed
    assert len(world.shards()) == 1


def test_unnamed_outputs_and_files_of_killed_writers_are_removed(world: World) -> None:
    rows = world.shards()[0].parent
    (rows / ".0123.h5.77.tmp").write_bytes(b"half a shard")
    printed = world.printed("Prune", "--dry-run", "--ExtractPyramid-weights", "random")
    assert ".0123.h5.77.tmp" in printed
    assert world.shards()[0].name in printed
    assert len(list(rows.iterdir())) == 2
    world.printed("Prune", "--ExtractPyramid-weights", "random")
    assert not list(rows.iterdir())
    assert world.status(*EXTRACT)["ExtractPyramid"].startswith("stale: never made")


def test_a_wrong_stored_digest_makes_no_output_stale(world: World) -> None:
    memory = sqlite3.connect(world.store / "digests.sqlite")
    index = (world.output("ExtractPyramid") / "index.npy").stat().st_ino
    with memory:
        memory.execute("update digests set sha256='rotten' where inode=?", (index,))
    memory.close()
    assert world.status(*EXTRACT)["ExtractPyramid"].startswith("fresh")


def test_an_output_in_another_output_s_folder_is_stale(world: World) -> None:
    output = world.output("GroundCrops")
    manifest = json.loads((output / "manifest.json").read_text())
    manifest["fingerprint"] = "0123456789abcdef"
    (output / "manifest.json").write_text(json.dumps(manifest))
    assert world.status(*EXTRACT)["GroundCrops"] == "stale: its manifest belongs to another output"


@pytest.mark.parametrize("content", ["", "[]", '{"files": []}', '{"files": {}, "key": {}}'])
def test_a_broken_manifest_is_reported_and_its_output_made_again(
    content: str, world: World
) -> None:
    output = world.output("GroundCrops")
    whole = (output / "manifest.json").read_text()
    (output / "manifest.json").write_text(content)
    assert world.status(*EXTRACT)["GroundCrops"] == "stale: its manifest is missing or broken"
    world.result("GroundCrops", "--grounder", "auto")
    again = json.loads((world.output("GroundCrops") / "manifest.json").read_text())
    assert again["files"].keys() == json.loads(whole)["files"].keys()
    assert world.status(*EXTRACT)["ExtractPyramid"].startswith("fresh")


def test_a_finished_output_that_was_not_renamed_is_used(world: World) -> None:
    output = world.output("ExtractPyramid")
    partial = output.with_name(f".{output.name}.partial")
    output.rename(partial)
    made = json.loads((partial / "manifest.json").read_text())["made"]
    run = world.run("ExtractPyramid", "--dataset", "own", *OWN_EXTRACT)
    assert run.returncode == 0, run.stderr
    assert "pictures, " not in run.stderr  # nothing was computed, not even the index
    assert json.loads((output / "manifest.json").read_text())["made"] == made
