"""The world that tests build: data on disk, a store, commands on both, and posts with pyramids."""

import atexit
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.corpus import locate, read
from pipeline.corpus.demo import write_demo
from pipeline.corpus.post import Post
from pipeline.extraction.config import ExtractConfig, PictureFiles
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.machine import Machine
from tests.cli import luigi, newest, outputs

# Pyramids that are soon computed, as options of another task and of ExtractPyramid itself.
EXTRACT = (
    *("--ExtractPyramid-weights", "random", "--ExtractPyramid-backbone", "resnet18"),
    *("--ExtractPyramid-size", "64"),
)
OWN_EXTRACT = tuple(option.replace("ExtractPyramid-", "") for option in EXTRACT)


@dataclass
class World:
    """A data root with the data set `own`, a store, and what people type."""

    data: Path
    store: Path

    def run(self, task: str, *options: str) -> subprocess.CompletedProcess[str]:
        """A command, however it ends."""
        return luigi(task, *options, data=self.data, store=self.store)

    def printed(self, task: str, *options: str) -> str:
        """What a command that must succeed prints."""
        done = self.run(task, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def result(self, task: str, *options: str) -> Path:
        """The output folder of a stage of `own` that must succeed."""
        self.printed(task, "--dataset", "own", *options)
        return outputs(self.store, task)[-1]

    def metrics(self, task: str, *options: str) -> dict[str, Any]:
        """The `metrics.json` of a stage of `own` that must succeed."""
        metrics: dict[str, Any] = json.loads(
            (self.result(task, *options) / "metrics.json").read_text()
        )
        return metrics

    def status(self, *options: str) -> dict[str, str]:
        """What Status says of each stage of `own`."""
        lines = self.printed("Status", "--dataset", "own", *options).splitlines()
        return dict(line.split(" is ", 1) for line in lines)

    def output(self, stage: str) -> Path:
        """The one output of a stage."""
        [folder] = outputs(self.store, stage)
        return folder

    def report(self) -> dict[str, Any]:
        """The report of the newest extraction."""
        report: dict[str, Any] = newest(self.store, "ExtractPyramid", "report.json")
        return report

    def shards(self) -> list[Path]:
        """The shards of all backbones."""
        return sorted((self.store / "pyramids").glob("*/*.h5"))


def make_world(root: Path, posts: tuple[int, int, int] = (24, 8, 8)) -> World:
    """A world below `root`: train, val and test posts of `own`, and a store that is not there."""
    write_own_data(root / "data", posts=posts)
    return World(root / "data", root / "store")


def write_own_data(root: Path, name: str = "own", posts: tuple[int, int, int] = (24, 8, 8)) -> Path:
    """A small data set of people's own: the demo's first posts of each split."""
    demo = _demo()
    left = dict(zip(("train", "val", "test"), posts, strict=True))
    folder = root / name
    (folder / "pictures").mkdir(parents=True)
    with (folder / "posts.jsonl").open("w") as file:
        for line in (demo / "posts.jsonl").read_text().splitlines():
            post = json.loads(line)
            if left[post["split"]] and "picture" in post:
                left[post["split"]] -= 1
                file.write(line + "\n")
                shutil.copy(demo / "pictures" / post["picture"], folder / "pictures")
    return folder


@cache
def _demo() -> Path:
    """The whole demo, drawn once a process, as that takes 3 CPU seconds."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    write_demo(folder)
    return folder


SALIENCE = GroundConfig(Grounders("salience"), phrases="none")


def extract_posts(
    root: Path,
    config: ExtractConfig,
    grounding: GroundConfig = SALIENCE,
    change: Callable[[Post], Post] = lambda post: post,
) -> tuple[list[Post], PictureFiles]:
    """Posts of `own` below `root`, grounded, with rows in `root/pyramids`.

    change: of each post, before it is grounded.
    """
    from pipeline.extraction.extract import Extraction, extract
    from pipeline.grounding.crops import GroundedPosts
    from pipeline.grounding.finder import BoxCache, make_finder
    from pipeline.grounding.ground import ground

    write_own_data(root)
    posts = [change(post) for post in read(locate("own", root)).posts]
    for name in ("crops", "extraction"):
        (root / name).mkdir()
    with BoxCache(root / "boxes.sqlite") as cache:
        ground(
            posts,
            root,
            grounding,
            lambda name: make_finder(name, grounding, Machine("cpu"), str, str, cache),
            root / "crops",
        )
    rows = root / "pyramids" / "rows"
    slots = 1 + grounding.max_crops
    run = Extraction(root, slots, str, rows, config.weights, config, Machine("cpu"))
    extract(list(GroundedPosts(root / "crops")), run, root / "extraction")
    return posts, PictureFiles(root / "extraction", root / "crops", root / "pyramids", root, config)
