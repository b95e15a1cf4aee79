"""Runs shared by several test files, trained once."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpus.post import Post
from tests.pipeline.prediction.trained import Trained
from tests.random_backbones import scaled_once

__all__ = ["scaled_once"]  # for every file of this folder

TOLD = ("ner-told", "re-told")  # those of RUNS that read picture texts
RUNS = {  # name: task, variant
    "ner": ("ner", "hvpnet"),
    "re": ("re", "hvpnet"),
    "ner-words": ("ner", "text-only"),
    "re-words": ("re", "text-only"),
    "ner-told": ("ner", "hvpnet"),
    "re-told": ("re", "text-only"),
}


def change(post: Post) -> Post:
    """Return a post without a picture and a post whose picture is missing."""
    names = {"demo-24": None, "demo-25": "own/pictures/none.jpg"}
    return replace(post, picture=names.get(post.id, post.picture))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The runs of RUNS."""
    trained = Trained.make(tmp_path_factory.mktemp("runs"), change=change)
    for name, (task, variant) in RUNS.items():
        trained.run(name, task, variant=variant, epochs=3, knowledge=name in TOLD)
    return trained


@pytest.fixture(scope="session")
def looks(runs: Trained) -> Path:
    """A model for entities that looks at pictures."""
    return runs.root / "ner"


@pytest.fixture(scope="session")
def reads(runs: Trained) -> Path:
    """A text-only model for entities."""
    return runs.root / "ner-words"


@pytest.fixture(scope="session")
def relates(runs: Trained) -> Path:
    """A text-only model for relations."""
    return runs.root / "re-words"
