"""Stores that people have stay fresh: fingerprints as of the commit before the folders were made.

`keys.json` holds, for data sets and options, each stage's fingerprint by its letter, and for two
cases the settings in its key. A change here makes people's outputs stale: raise the stage's VERSION
and say so in the changelog. A new setting belongs into the stage's ADDED instead.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.staleness import Layouts, columns, plain_machine, write_layouts

CASES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("keys.json").read_text(encoding="utf-8")
)


@pytest.fixture(autouse=True, scope="module")
def machine() -> Iterator[None]:
    with plain_machine():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    return write_layouts(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", CASES)
def test_keys_are_those_of_stores_made_before(world: Layouts, name: str) -> None:
    case = CASES[name]
    with world.configured(case["options"]):
        every = columns(case["dataset"])  # some of them are younger than keys.json
        stages = {letter: every[letter] for letter in case["fingerprints"]}
        if "settings" in case:  # first, as these say what differs
            keys = {letter: stage.key["settings"] for letter, stage in stages.items()}
            assert json.loads(json.dumps(keys)) == case["settings"]
        fingerprints = {letter: stage.fingerprint for letter, stage in stages.items()}
    assert fingerprints == case["fingerprints"]
