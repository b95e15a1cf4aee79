"""Runs that look at pictures, trained once for several test files."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.corpus.post import Post
from pipeline.experiments.runs import TrainedRun
from pipeline.grounding.config import GroundConfig, Grounders
from tests.pipeline.prediction.trained import Trained
from tests.random_backbones import scaled_once

__all__ = ["scaled_once"]  # for every file of this folder

Pictured = dict[str, TrainedRun]

WITHOUT, MISSING, FILES = "demo-397", "demo-398", "demo-399"  # test posts
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "re": ("re", {}),
    "objects": ("ner", {"variant": "only-objects"}),
    "released": ("re", {"style": "released"}),
    "told": ("re", {"knowledge": True}),
    "told-words": ("ner", {"knowledge": True, "variant": "text-only"}),
}


def change(post: Post) -> Post:
    """Return a post without a picture, one whose picture is missing, one with a crop as a file."""
    if post.id == FILES:
        return replace(post, crops=(str(post.picture),))
    names = {WITHOUT: None, MISSING: "own/pictures/none.jpg"}
    return replace(post, picture=names.get(post.id, post.picture))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The posts that the runs are trained on."""
    grounding = GroundConfig(Grounders("salience", released=True), phrases="none")
    return Trained.make(tmp_path_factory.mktemp("pictured"), grounding, change=change)


@pytest.fixture(scope="session")
def pictured(trained: Trained) -> Pictured:
    """The runs of RUNS, by name."""
    root = trained.root
    return {
        name: TrainedRun(
            trained.run(name, task, **settings),
            name,
            root / "posts",
            root,
            None if settings.get("variant") == "text-only" else trained.files,
            root / "texts" if "knowledge" in settings else None,
        )
        for name, (task, settings) in RUNS.items()
    }
