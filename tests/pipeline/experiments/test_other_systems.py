"""Test what experiments and explanations do with runs of other systems than HVPNeT."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hvpnet import Extractor
from model import contract
from pipeline.corpus.posts import load_posts
from pipeline.errors import SettingError
from pipeline.experiments.cases import cases_into, section
from pipeline.experiments.controls import controls_into
from pipeline.experiments.gates import gates_into
from pipeline.experiments.opened import OpenRun
from pipeline.experiments.runs import TrainedRun, lines_of
from pipeline.prediction.comparison import Comparison, show_comparison
from tests.model.test_systems import write_system
from tests.pipeline.experiments.conftest import Pictured
from tests.pipeline.prediction.trained import Trained

IMPORTS = """
from torch import nn
from model.encoder import TextEncoder
from model.groups import ParameterGroup
"""


@pytest.fixture(scope="module")
def runs(
    trained: Trained, pictured: Pictured, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pictured]:
    """Runs of relations: `looker`, the contract's example, of pictures; `mtb`; `hvpnet`."""
    example = contract.__doc__.split("last block:\n")[1].split("\nAxes:")[0]
    zoo = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        looker = write_system(zoo, patch, IMPORTS + textwrap.dedent(example))
        settings: dict[str, dict[str, Any]] = {
            "looker": {"system": looker},
            "mtb": {"system": "mtb", "variant": "text-only"},
        }
        others = {
            name: TrainedRun(
                trained.run(name, "re", **more),
                name,
                trained.root / "posts",
                trained.root,
                None if name == "mtb" else trained.files,
            )
            for name, more in settings.items()
        }
        yield {**others, "hvpnet": replace(pictured["re"], name="hvpnet")}


def cases(folder: Path, *shown: TrainedRun) -> tuple[Any, str]:
    cases_into(folder, shown, (), 3, "cpu")
    results = json.loads((folder / "results.json").read_text())
    return results, section(results, folder)


def test_cases_show_the_pictures_and_answers_of_a_system(runs: Pictured, tmp_path: Path) -> None:
    results, page = cases(tmp_path, runs["mtb"], runs["looker"])
    assert results["looking"] == 1
    assert "The pictures are those that looker reads; attention is HVPNeT's alone." in page.replace(
        "&#x27;", "'"
    )
    assert "data:image/jpeg" in page
    for place, name in enumerate(("mtb", "looker")):
        answers = lines_of(runs[name].folder / "predictions.jsonl", "test")
        lines = {line["id"]: line for line in answers}
        for post in results["shown"]:
            answer = post["predictions"][place]["predicted"]
            assert answer == lines[post["id"]]["predicted_relation"]
            assert "attention" not in post


def test_cases_show_the_attention_of_hvpnet_beside_systems(runs: Pictured, tmp_path: Path) -> None:
    results, page = cases(tmp_path, runs["looker"], runs["mtb"], runs["hvpnet"])
    assert results["looking"] == 2
    assert all(post["attention"] for post in results["shown"])
    assert "heads and layers of hvpnet" in page


def test_a_system_is_asked_with_other_pictures(runs: Pictured, tmp_path: Path) -> None:
    run = runs["looker"]
    controls_into(tmp_path, run.model, run.posts, run.files, "cpu", "float32", 0, {})

    def scores(file: Path) -> list[float]:
        return [line["score"] for line in lines_of(file, "test")]

    own = scores(run.folder / "predictions.jsonl")
    others = [scores(tmp_path / c / "predictions.jsonl") for c in ("shuffled", "no-picture")]
    for one in others:
        assert sum(abs(a - b) > 1e-6 for a, b in zip(own, one, strict=True)) > len(own) / 2
    assert others[0] != others[1]


@pytest.mark.parametrize("name", ["looker", "mtb"])
def test_gates_of_a_system_are_refused(runs: Pictured, tmp_path: Path, name: str) -> None:
    message = f"^{name}: expected a run of system hvpnet, .* found one of {runs[name].system};"
    with pytest.raises(SettingError, match=message):
        gates_into(tmp_path, runs[name], (), 2, "cpu")


def test_attention_to_regions_is_refused(runs: Pictured) -> None:
    with pytest.raises(SettingError, match="looks at pictures, found one of system mtb, which"):
        OpenRun.open(runs["mtb"], "cpu")
    opened = OpenRun.open(runs["looker"], "cpu")
    pyramids = opened.pictures.pyramids
    message = f"expected a model of system hvpnet, .*, found one of {runs['looker'].system};"
    with pytest.raises(SettingError, match=message):
        opened.forward.gates(pyramids([0])["pyramid"])
    encoded = opened.forward.saved.encode({0: load_posts(runs["looker"].posts)[0]})
    with pytest.raises(SettingError, match=message):
        opened.forward.attention_to_regions(encoded, pyramids)


@pytest.mark.parametrize("name", ["looker", "mtb"])
def test_explaining_a_system_is_refused(runs: Pictured, name: str) -> None:
    extractor = Extractor.load(runs[name].folder, device="cpu")
    record = {"tokens": ["Ada", "met", "Bo"], "head": [0, 1], "tail": [2, 3]}
    assert extractor.predict(record).error is None
    message = f"expected a model of system hvpnet, .*, found one of {runs[name].system}; leave"
    with pytest.raises(SettingError, match=message):
        extractor.predict(record, explain=True)


@pytest.mark.parametrize(("name", "explained"), [("looker", False), ("hvpnet", True)])
def test_a_page_of_predictions_explains_hvpnet(
    runs: Pictured, tmp_path: Path, name: str, explained: bool
) -> None:
    run, posts = runs[name], load_posts(runs[name].posts)
    sides = [{"relations": run.model}, {"relations": runs["mtb"].model}]
    comparison = Comparison(sides, run.root, run.files, "cpu", "test", 2)
    show_comparison(posts, comparison, "title", tmp_path / "page.html")
    assert ("attention, relations" in (tmp_path / "page.html").read_text()) == explained
