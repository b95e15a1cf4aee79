"""Stale or fresh, through the real command line: what changes, and what runs because of it."""

import fcntl
import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from pipeline.corpus.drawing import draw_picture
from tests.cli import luigi, newest, outputs
from tests.world import EXTRACT, OWN_EXTRACT, World, write_own_data

STAGES = ("ReadPosts", "GroundCrops", "ExtractPyramid", "TrainRE")
SMALL = (*EXTRACT, "--encoder", "scratch", "--epochs", "1")


@dataclass
class Trained(World):
    """A world in which TrainRE is run, and what has run so far."""

    seen: dict[str, int] = field(default_factory=dict)

    def train(self, *options: str) -> dict[str, int]:
        """Run TrainRE; how many outputs each stage made anew."""
        self.printed("TrainRE", "--dataset", "own", *SMALL, *options)
        now = {stage: len(outputs(self.store, stage)) for stage in STAGES}
        new = {stage: now[stage] - self.seen.get(stage, 0) for stage in STAGES}
        self.seen = now
        return {stage: count for stage, count in new.items() if count}

    def status(self, *options: str) -> dict[str, str]:
        small = [o.replace("--e", "--TrainRE-e") if o.startswith("--e") else o for o in SMALL]
        return super().status(*small, *options)

    @property
    def posts(self) -> Path:
        return self.data / "own" / "posts.jsonl"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("world")
    write_own_data(root / "data")
    world = Trained(root / "data", root / "store")
    assert world.train() == dict.fromkeys(STAGES, 1)
    assert world.report()["pictures_computed"] == 40
    return world


def test_metrics_tell_what_went_in(world: Trained) -> None:
    metrics = newest(world.store, "TrainRE", "metrics.json")
    stages = [key["stage"] for key in metrics["keys"]]
    assert stages == ["TrainRE", "ReadPosts", "ExtractPyramid", "GroundCrops"]
    assert metrics["crops"].keys() == {"salience"}
    assert metrics["pictures"] == 40
    assert metrics["versions"].keys() >= {"python", "torch", "transformers"}


def test_nothing_changed_nothing_runs(world: Trained) -> None:
    before = {p: p.stat().st_mtime_ns for p in world.store.rglob("manifest.json")}
    assert world.train() == {}
    assert {p: p.stat().st_mtime_ns for p in world.store.rglob("manifest.json")} == before


def test_what_cannot_change_the_result_changes_nothing(world: Trained) -> None:
    options = (
        "--ExtractPyramid-device",
        "cpu",
        "--ExtractPyramid-batch-size",
        "3",
        "--device",
        "cpu",
    )
    assert world.train(*options) == {}


def test_touched_and_moved_data_changes_nothing(world: Trained) -> None:
    world.posts.touch()
    moved = world.data.with_name("moved")
    shutil.copytree(world.data, moved)
    shutil.rmtree(world.data)
    world.data = moved
    assert world.train() == {}


def test_learning_rate_only_trains(world: Trained) -> None:
    status = world.status("--TrainRE-learning-rate", "5e-4")
    assert status["TrainRE"] == "stale: learning_rate 1e-05 → 0.0005"
    assert world.train("--learning-rate", "5e-4") == {"TrainRE": 1}
    assert world.status("--TrainRE-learning-rate", "5e-4")["TrainRE"].startswith("fresh")


def test_text_computes_no_picture(world: Trained) -> None:
    lines = world.posts.read_text().splitlines()
    post = json.loads(lines[0])
    post["tokens"][0] = post["tokens"][0] + "!"
    world.posts.write_text("\n".join([json.dumps(post), *lines[1:]]) + "\n")
    assert world.status()["ReadPosts"].startswith("stale: own/posts.jsonl sha256")
    assert world.train() == dict.fromkeys(STAGES, 1)
    assert world.report()["rows_computed"] == 0


def test_ten_more_pictures_compute_ten(world: Trained) -> None:
    with world.posts.open("a") as file:
        for n in range(10):
            draw_picture("heart", random.Random(n)).save(world.data / f"own/pictures/new{n}.jpg")
            post = {
                "id": f"new-{n}",
                "tokens": ["Noah", "and", "Zoe"],
                "picture": f"new{n}.jpg",
                "split": "train",
                "head": [0, 1],
                "tail": [2, 3],
                "relation": "couple",
            }
            file.write(json.dumps(post) + "\n")
    assert world.train() == dict.fromkeys(STAGES, 1)
    assert world.report()["pictures_computed"] == 10
    assert world.report()["pictures"] == 50


def test_pooling_extracts_and_trains_and_back_is_free(world: Trained) -> None:
    changed = ("--ExtractPyramid-pooling", "adaptive")
    assert world.status(*changed)["ExtractPyramid"] == "stale: pooling floor → adaptive"
    assert world.train(*changed) == {"ExtractPyramid": 1, "TrainRE": 1}
    assert world.report()["pictures_computed"] == 50
    assert world.train() == {}


def test_damaged_shard_is_found_and_made_again(world: Trained) -> None:
    shard = sorted((world.store / "pyramids").glob("*floor*/*.h5"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert f"{shard.name} was altered" in world.status()["ExtractPyramid"]
    run = world.run("ExtractPyramid", "--dataset", "own", *OWN_EXTRACT)
    assert run.returncode == 0, run.stderr
    assert "computing a damaged shard again" in run.stderr
    assert 0 < world.report()["rows_computed"] < world.report()["rows"]
    assert world.status()["ExtractPyramid"].startswith("fresh")


def test_prune_leaves_a_data_set_alone_while_a_run_is_under_way(world: Trained) -> None:
    partial = world.store / "ExtractPyramid" / ".own-0123456789abcdef.partial"
    partial.mkdir()
    lock = world.store / "locks" / "ExtractPyramid-own-0123456789abcdef"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        printed = world.printed("Prune")
    assert "own: nothing removed (a run is in progress)" in printed
    assert partial.exists()


def test_prune_removes_what_no_configuration_names(world: Trained) -> None:
    left = world.store / "ExtractPyramid" / ".own-0123456789abcdef.partial"  # by the test before
    others = world.store / "ExtractPyramid" / ".own-two-0123456789abcdef.partial"
    others.mkdir()
    adaptive = list((world.store / "pyramids").glob("*adaptive*/*.h5"))
    runs = len(outputs(world.store, "TrainRE"))
    assert adaptive
    dry = world.printed("Prune", "--dry-run", *EXTRACT)
    assert all(shard.exists() for shard in adaptive)
    assert f"pyramids/{adaptive[0].parent.name}/{adaptive[0].name}" in dry
    assert world.printed("Prune", *EXTRACT).replace("freed", "would free") == dry
    assert not any(shard.exists() for shard in adaptive)
    assert (left.exists(), others.exists()) == (False, True)
    assert len(outputs(world.store, "TrainRE")) == runs
    assert len(outputs(world.store, "ExtractPyramid")) == 1
    assert len(outputs(world.store, "ReadPosts")) == 1
    world.seen |= {stage: len(outputs(world.store, stage)) for stage in STAGES}
    assert world.train() == {}


# --- errors and places


def test_works_from_another_folder(world: Trained, tmp_path: Path) -> None:
    run = luigi("Status", "--dataset", "own", data=world.data, store=world.store, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert not list(tmp_path.iterdir())


def test_missing_data_is_one_line_and_no_success(tmp_path: Path) -> None:
    run = luigi("TrainRE", data=tmp_path / "none", store=tmp_path / "store")
    assert run.returncode != 0
    assert "no texts of mnre" in run.stderr
    assert "Traceback" not in run.stderr


def test_malformed_line_names_file_and_line(tmp_path: Path) -> None:
    folder = write_own_data(tmp_path / "data", posts=(2, 1, 1))
    posts = folder / "posts.jsonl"
    posts.write_text(posts.read_text().replace('"split": "val"', '"split": "dev"'))
    run = luigi("ReadPosts", "--dataset", "own", data=tmp_path / "data", store=tmp_path / "store")
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    [line] = [line for line in run.stderr.splitlines() if "posts.jsonl" in line]
    assert "line 3: expected split to be one of train, val, test, found 'dev'" in line


def test_missing_and_broken_pictures_are_counted_and_named(tmp_path: Path) -> None:
    folder = write_own_data(tmp_path / "data", posts=(6, 1, 1))
    pictures = sorted((folder / "pictures").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(b"no picture")
    run = luigi(
        "ExtractPyramid", "--dataset", "own", *OWN_EXTRACT,
        data=tmp_path / "data", store=tmp_path / "store",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "2 picture files can't be used" in run.stderr
    assert pictures[0].name in run.stderr
    problems = newest(tmp_path / "store", "ExtractPyramid", "report.json")["problems"]
    assert problems[f"own/pictures/{pictures[0].name}"] == "missing"
    assert problems[f"own/pictures/{pictures[1].name}"].startswith("broken")


def test_crops_that_come_later_are_found(tmp_path: Path) -> None:
    base = tmp_path / "data" / "NER_data"
    for name in ("train", "valid", "test"):
        (base / "twitter2015").mkdir(parents=True, exist_ok=True)
        (base / f"twitter2015/{name}.txt").write_text(f"IMGID:{name}\nAda\tB-PER\n\n")
        split = "val" if name == "valid" else name
        torch.save({f"{name}.jpg": ["c.png"]}, base / f"twitter2015/twitter2015_{split}_dict.pth")
    options = ("--dataset", "twitter2015")
    store, data = tmp_path / "store", tmp_path / "data"
    assert luigi("ReadPosts", *options, data=data, store=store).returncode == 0
    (base / "twitter2015_aux_images/train/crops").mkdir(parents=True)
    assert luigi("ReadPosts", *options, data=data, store=store).returncode == 0
    posts = (outputs(store, "ReadPosts")[-1] / "posts.jsonl").read_text().splitlines()
    assert json.loads(posts[0])["crops"] == ["NER_data/twitter2015_aux_images/train/crops/c.png"]


def test_no_picture_at_all_is_an_error(tmp_path: Path) -> None:
    folder = write_own_data(tmp_path / "data", posts=(2, 1, 1))
    shutil.rmtree(folder / "pictures")
    run = luigi(
        "ExtractPyramid", "--dataset", "own", *OWN_EXTRACT,
        data=tmp_path / "data", store=tmp_path / "store",
    )  # fmt: skip
    assert run.returncode != 0
    assert "expected pictures that exist, found none of 4" in run.stderr
    assert "Traceback" not in run.stderr
