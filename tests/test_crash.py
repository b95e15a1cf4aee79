"""A short form of tests/crash.py: commands that are killed, or run at once, each in one way."""

import random
from pathlib import Path
from signal import SIGINT, SIGKILL

import pytest

from tests import crash
from tests.crash import Job, Kill, Trials


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    world = Trials(tmp_path_factory.mktemp("world"), (48, 12, 12))
    world.undisturbed("TrainRE", world.reference)
    world.seconds = dict.fromkeys(crash.STAGES, world.seconds["TrainRE"])
    return world


def killed(world: Trials, job: Job, *plan: Kill) -> None:
    """Kill a command as planned: nothing may be wrong after any kill, nor at the end."""
    tally = crash.crash(world, job, plan, random.Random(0))
    assert tally.wrong == []
    assert tally.kills.total() == len(plan)


def test_grounding_goes_on_when_killed(world: Trials) -> None:
    killed(world, crash.grounding(world), (SIGINT, "locks/G"), (SIGKILL, "manifest"))


def test_describing_goes_on_when_killed(world: Trials) -> None:
    world.undisturbed("DescribePictures", world.reference)
    killed(world, crash.describing(world), (SIGKILL, "texts.jsonl"))


def test_extraction_goes_on_in_those_that_waited_for_the_one_that_was_killed(world: Trials) -> None:
    assert crash.heirs(world) == []


def test_reader_and_writer_of_shared_pictures_dont_disturb_each_other(world: Trials) -> None:
    assert crash.neighbours(world, "locks/resnet18") == []


# --- whether the tool itself sees what is wrong


def test_damage_is_seen(world: Trials, tmp_path: Path) -> None:
    store = world.new_store("TrainRE")
    assert world.wrong_store(store) == []
    (store / "GroundCrops" / ".own-0.partial").mkdir()
    crops = crash.output(store, "GroundCrops") / "crops.jsonl"
    crops.write_bytes(crops.read_bytes() + b"\n")
    wrong = world.wrong_store(store)
    assert wrong == ["left behind: ['GroundCrops/.own-0.partial']", "crops.jsonl differs"]
    assert not crash.whole(crops.parent)
    shard = next(store.glob("pyramids/*/*.h5"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(crash.StoreError, match="wrong CRCs"):
        crash.rows_of(store)
