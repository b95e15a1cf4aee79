"""Status and Prune on stores in which runs were interrupted or outputs damaged."""

import fcntl
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli import luigi, outputs
from tests.tiny import write_own_data

OPTIONS = "--ExtractPyramid-weights random --ExtractPyramid-backbone resnet18".split()
OPTIONS += ["--ExtractPyramid-size", "64"]


@dataclass
class World:
    data: Path
    store: Path

    def run(self, task: str, *options: str) -> str:
        """What a report prints."""
        done = luigi(task, *options, *OPTIONS, data=self.data, store=self.store)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, str]:
        """What is said of each stage."""
        lines = self.run("Status", "--dataset", "own").splitlines()
        return dict(line.split(" is ", 1) for line in lines)

    def output(self, stage: str) -> Path:
        [found] = outputs(self.store, stage)
        return found

    def shards(self) -> list[Path]:
        return sorted((self.store / "pyramids").glob("*/*.h5"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A data set whose pyramids are there."""
    write_own_data(tmp_path / "data", posts=(6, 1, 1))
    world = World(tmp_path / "data", tmp_path / "store")
    options = [option.replace("ExtractPyramid-", "") for option in OPTIONS]
    done = luigi("ExtractPyramid", "--dataset", "own", *options, data=world.data, store=world.store)
    assert done.returncode == 0, done.stderr
    return world


def test_rows_of_an_extraction_that_is_to_go_on_are_kept(world: World) -> None:
    """As if it had been killed before its index was written; or its manifest was emptied."""
    output = world.output("ExtractPyramid")
    (output / "manifest.json").write_text("")
    assert world.status()["ExtractPyramid"] == "stale: its manifest is missing or broken"
    told = world.run("Prune")
    assert "nothing removed (not yet finished)" in told
    assert len(world.shards()) == 1
    output.rename(output.with_name(f".{output.name}.partial"))
    assert world.status()["ExtractPyramid"] == (
        "stale: never made (a run was interrupted; what it finished is kept)"
    )
    world.run("Prune")
    assert len(world.shards()) == 1
    assert output.with_name(f".{output.name}.partial").exists()


def test_rows_of_an_extraction_whose_data_is_away_are_kept(world: World) -> None:
    output = world.output("ExtractPyramid")
    output.rename(output.with_name(f".{output.name}.partial"))
    (output.with_name(f".{output.name}.partial") / "manifest.json").unlink()
    world.data.rename(world.data.with_name("away"))
    told = world.run("Prune")
    assert "own: nothing removed (no texts of own" in told
    assert len(world.shards()) == 1


def test_rows_that_are_being_filled_are_kept(world: World) -> None:
    output = world.output("ExtractPyramid")
    (output / "manifest.json").unlink()
    rows = world.shards()[0].parent
    with (world.store / "locks" / rows.name).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = luigi(  # in a configuration that doesn't name them
            "Prune", "--ExtractPyramid-weights", "random", data=world.data, store=world.store
        ).stdout
    assert f"pyramids/{rows.name}: nothing removed" in told
    assert len(world.shards()) == 1


def test_what_no_configuration_names_goes_with_what_killed_writers_left(world: World) -> None:
    rows = world.shards()[0].parent
    (rows / ".0123.h5.77.tmp").write_bytes(b"half a shard")
    told = luigi("Prune", "--dry-run", "--ExtractPyramid-weights", "random",
                 data=world.data, store=world.store).stdout  # fmt: skip
    assert ".0123.h5.77.tmp" in told
    assert world.shards()[0].name in told
    assert len(list(rows.iterdir())) == 2
    luigi("Prune", "--ExtractPyramid-weights", "random", data=world.data, store=world.store)
    assert not list(rows.iterdir())
    assert world.status()["ExtractPyramid"].startswith("stale: never made")


def test_a_wrong_digest_in_memory_costs_no_output(world: World) -> None:
    memory = sqlite3.connect(world.store / "digests.sqlite")
    index = (world.output("ExtractPyramid") / "index.npy").stat().st_ino
    with memory:
        memory.execute("update digests set sha256='rotten' where inode=?", (index,))
    memory.close()
    assert world.status()["ExtractPyramid"].startswith("fresh")


def test_an_output_under_anothers_name_is_none(world: World) -> None:
    output = world.output("GroundCrops")
    manifest = json.loads((output / "manifest.json").read_text())
    manifest["fingerprint"] = "0123456789abcdef"
    (output / "manifest.json").write_text(json.dumps(manifest))
    assert world.status()["GroundCrops"] == "stale: its manifest is another output's"


@pytest.mark.parametrize("content", ["", "[]", '{"files": []}', '{"files": {}, "key": {}}'])
def test_a_manifest_that_is_none_is_told_and_its_stage_made_again(
    content: str, world: World
) -> None:
    output = world.output("GroundCrops")
    whole = (output / "manifest.json").read_text()
    (output / "manifest.json").write_text(content)
    assert world.status()["GroundCrops"] == "stale: its manifest is missing or broken"
    options = ("--grounder", "auto")
    run = luigi("GroundCrops", "--dataset", "own", *options, data=world.data, store=world.store)
    assert run.returncode == 0, run.stderr
    again = json.loads((world.output("GroundCrops") / "manifest.json").read_text())
    assert again["files"].keys() == json.loads(whole)["files"].keys()
    assert world.status()["ExtractPyramid"].startswith("fresh")


def test_an_output_that_was_whole_but_for_its_name_is_taken(world: World) -> None:
    output = world.output("ExtractPyramid")
    partial = output.with_name(f".{output.name}.partial")
    output.rename(partial)
    made = json.loads((partial / "manifest.json").read_text())["made"]
    options = [option.replace("ExtractPyramid-", "") for option in OPTIONS]
    run = luigi("ExtractPyramid", "--dataset", "own", *options, data=world.data, store=world.store)
    assert run.returncode == 0, run.stderr
    assert "pictures, " not in run.stderr  # nothing was computed, not even the index
    assert json.loads((output / "manifest.json").read_text())["made"] == made
