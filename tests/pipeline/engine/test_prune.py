"""Status and Prune on stores in which runs were interrupted or outputs damaged."""

import fcntl
import json
import sqlite3
from pathlib import Path

import pytest

from tests.world import EXTRACT, OWN_EXTRACT, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A data set whose pyramids are there."""
    world = make_world(tmp_path, posts=(6, 1, 1))
    world.result("ExtractPyramid", *OWN_EXTRACT)
    return world


def test_rows_of_an_extraction_that_is_to_go_on_are_kept(world: World) -> None:
    """As if it had been killed before its index was written; or its manifest was emptied."""
    output = world.output("ExtractPyramid")
    (output / "manifest.json").write_text("")
    assert world.status(*EXTRACT)["ExtractPyramid"] == "stale: its manifest is missing or broken"
    told = world.printed("Prune", *EXTRACT)
    assert "nothing removed (not yet finished)" in told
    assert len(world.shards()) == 1
    output.rename(output.with_name(f".{output.name}.partial"))
    assert world.status(*EXTRACT)["ExtractPyramid"] == (
        "stale: never made (a run was interrupted; what it finished is kept)"
    )
    world.printed("Prune", *EXTRACT)
    assert len(world.shards()) == 1
    assert output.with_name(f".{output.name}.partial").exists()


def test_rows_of_an_extraction_whose_data_is_away_are_kept(world: World) -> None:
    output = world.output("ExtractPyramid")
    output.rename(output.with_name(f".{output.name}.partial"))
    (output.with_name(f".{output.name}.partial") / "manifest.json").unlink()
    world.data.rename(world.data.with_name("away"))
    told = world.printed("Prune", *EXTRACT)
    assert "own: nothing removed (no texts of own" in told
    assert len(world.shards()) == 1


def test_rows_that_are_being_filled_are_kept(world: World) -> None:
    output = world.output("ExtractPyramid")
    (output / "manifest.json").unlink()
    rows = world.shards()[0].parent
    with (world.store / "locks" / rows.name).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = world.printed("Prune", "--ExtractPyramid-weights", "random")  # names others
    assert f"pyramids/{rows.name}: nothing removed" in told
    assert len(world.shards()) == 1


def test_what_no_configuration_names_goes_with_what_killed_writers_left(world: World) -> None:
    rows = world.shards()[0].parent
    (rows / ".0123.h5.77.tmp").write_bytes(b"half a shard")
    told = world.printed("Prune", "--dry-run", "--ExtractPyramid-weights", "random")
    assert ".0123.h5.77.tmp" in told
    assert world.shards()[0].name in told
    assert len(list(rows.iterdir())) == 2
    world.printed("Prune", "--ExtractPyramid-weights", "random")
    assert not list(rows.iterdir())
    assert world.status(*EXTRACT)["ExtractPyramid"].startswith("stale: never made")


def test_a_wrong_digest_in_memory_costs_no_output(world: World) -> None:
    memory = sqlite3.connect(world.store / "digests.sqlite")
    index = (world.output("ExtractPyramid") / "index.npy").stat().st_ino
    with memory:
        memory.execute("update digests set sha256='rotten' where inode=?", (index,))
    memory.close()
    assert world.status(*EXTRACT)["ExtractPyramid"].startswith("fresh")


def test_an_output_under_anothers_name_is_none(world: World) -> None:
    output = world.output("GroundCrops")
    manifest = json.loads((output / "manifest.json").read_text())
    manifest["fingerprint"] = "0123456789abcdef"
    (output / "manifest.json").write_text(json.dumps(manifest))
    assert world.status(*EXTRACT)["GroundCrops"] == "stale: its manifest belongs to another output"


@pytest.mark.parametrize("content", ["", "[]", '{"files": []}', '{"files": {}, "key": {}}'])
def test_a_manifest_that_is_none_is_told_and_its_stage_made_again(
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


def test_an_output_that_was_whole_but_for_its_name_is_taken(world: World) -> None:
    output = world.output("ExtractPyramid")
    partial = output.with_name(f".{output.name}.partial")
    output.rename(partial)
    made = json.loads((partial / "manifest.json").read_text())["made"]
    run = world.run("ExtractPyramid", "--dataset", "own", *OWN_EXTRACT)
    assert run.returncode == 0, run.stderr
    assert "pictures, " not in run.stderr  # nothing was computed, not even the index
    assert json.loads((output / "manifest.json").read_text())["made"] == made
