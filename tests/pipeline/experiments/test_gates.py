"""Test gates: the figures recomputed by a plain loop, the posts shown, and what the page says."""

import csv
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.corpus.posts import load_posts
from pipeline.errors import DataError, SettingError
from pipeline.experiments.gates import gates_into
from pipeline.experiments.gates_page import in_words, section
from pipeline.experiments.runs import TrainedRun
from pipeline.extraction.index import StoredPyramids
from pipeline.training.saved import SavedModel
from tests.pipeline.experiments.conftest import FILES, MISSING, WITHOUT, Pictured


def made(folder: Path, run: TrainedRun, chosen: tuple[str, ...] = (), most: int = 3) -> Any:
    folder.mkdir(exist_ok=True)
    gates_into(folder, run, chosen, most, "cpu")
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def folder(pictured: Pictured, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gates")
    made(folder, pictured["re"])
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text())


def gates_of(run: TrainedRun) -> dict[str, list[Any]]:
    """The gate (L, 4) of each region of each test post that exists, by plain loops (Eq. 2-4)."""
    assert run.files is not None
    stored = StoredPyramids.open(run.files.extraction, run.files.pyramids)
    prefix = SavedModel.open(run.model).load().prefix
    assert prefix is not None
    mlp = prefix.gate.mlp
    assert isinstance(mlp, torch.nn.Linear)
    gates: dict[str, list[Any]] = {}
    for number, post in enumerate(load_posts(run.posts)):
        if post.split != "test":
            continue
        tensors = stored([number])
        for region in np.flatnonzero(tensors["regions"][0]):
            parts = tensors["pyramid"][0, region].float().split(prefix.channels)
            pooled = sum(
                conv(part[:, y, x])
                for conv, part in zip(prefix.conv, parts, strict=True)
                for y in range(2)
                for x in range(2)
            ) / (4 * 4)
            layers = []
            weights = mlp.weight.unflatten(0, (-1, 4))
            biases = mlp.bias.unflatten(0, (-1, 4))
            for weight, bias in zip(weights, biases, strict=True):
                alpha = [float(row @ pooled + b) for row, b in zip(weight, bias, strict=True)]
                powers = [math.exp(a if a > 0 else 0.01 * a) for a in alpha]
                layers.append([power / sum(powers) for power in powers])
            gates.setdefault(post.id, []).append(layers)
    return gates


def test_figures_equal_a_plain_loop(pictured: Pictured, results: Any) -> None:
    with torch.no_grad():
        gates = gates_of(pictured["re"])
    kinds = {"picture": [own[0] for own in gates.values()]}
    kinds["crops"] = [crop for own in gates.values() for crop in own[1:]]
    assert results["regions"].keys() == kinds.keys()
    for name, figures in results["regions"].items():
        assert figures["count"] == len(kinds[name])
        distances, ratios = [], []
        for layer, block in np.ndindex(4, 4):
            values = [gate[layer][block] for gate in kinds[name]]
            mean, deviation = statistics.fmean(values), statistics.stdev(values)
            assert figures["mean"][layer][block] == pytest.approx(mean, abs=3e-6)
            assert figures["deviation"][layer][block] == pytest.approx(deviation, abs=3e-6)
            assert figures["distance"][layer][block] == pytest.approx(mean - 0.25, abs=3e-6)
            distances.append(abs(mean - 0.25))
            ratios.append(abs(mean - 0.25) / deviation)
        assert figures["mean_distance"] == pytest.approx(statistics.fmean(distances), abs=3e-6)
        assert figures["largest_distance"] == pytest.approx(max(distances), abs=3e-6)
        assert figures["largest_distance_in_deviations"] == pytest.approx(max(ratios), rel=0.02)
    for post in results["shown"]:
        assert np.allclose(post["gate"], gates[post["id"]][0], atol=3e-6)


def test_the_shown_posts_are_evenly_spread_over_those_with_a_picture(results: Any) -> None:
    assert results["posts"] == 8
    assert results["regions"]["picture"]["count"] == 6
    assert [post["id"] for post in results["shown"]] == ["demo-396", "demo-400", "demo-402"]
    assert results["shown"][0]["text"] == "So proud of Austin and Georgia Banks #goals"


def test_the_table_has_the_figures(folder: Path, results: Any) -> None:
    with (folder / "gates.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 2 * 4 * 4
    for row in rows:
        layer, block = int(row["layer"]) - 1, int(row["block"]) - 1
        for name in ("mean", "deviation", "distance"):
            assert float(row[name]) == results["regions"][row["regions"]][name][layer][block]


def test_chosen_posts_are_shown_in_their_order(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, pictured["re"], (FILES, "demo-396"))
    assert [post["id"] for post in results["shown"]] == [FILES, "demo-396"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo-0", "expected ids of test posts of own, such as 'demo-396', found 'demo-0'"),
        (WITHOUT, rf"found '{WITHOUT}' \(picture: none\)"),
        (MISSING, rf"found '{MISSING}' \(picture: missing"),
    ],
)
def test_a_post_that_cannot_be_shown_is_refused(
    pictured: Pictured, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        made(tmp_path, pictured["re"], ("demo-396", name))


@pytest.mark.parametrize("variant", ["flat", "1t3", "text-only"])
def test_a_variant_without_a_gate_is_refused(
    pictured: Pictured, tmp_path: Path, variant: str
) -> None:
    metrics = {"task": "re", "config": {"variant": variant}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(SettingError, match=r"expected a run .* choose another variant"):
        made(tmp_path, replace(pictured["re"], folder=tmp_path))


def test_only_objects_has_no_gate_of_the_picture(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, pictured["objects"])
    assert [*results["regions"]] == ["crops"]
    assert results["shown_region"] == "first crop"
    assert "the gate of the first crop of single" in section(results, tmp_path)


def test_style_released_weighs_parts(pictured: Pictured, tmp_path: Path) -> None:
    results = made(tmp_path, pictured["released"])
    assert np.allclose(np.sum(results["regions"]["crops"]["mean"], axis=1), 1, atol=3e-6)
    shown = section(results, tmp_path)
    assert "part 4" in shown
    assert "block number" not in shown  # parts have no order


def test_the_section_holds_all_that_it_shows(folder: Path, results: Any) -> None:
    shown = section(results, folder)
    assert shown.count("<svg") == 2
    assert shown.count('src="data:image/jpeg;base64,') == 3
    for title in ("layer 1", "layer 4", "picture", "crops"):
        assert f"{title}</text>" in shown
    assert "Gates (Figure 4): own, relations, re" in shown
    assert shown.count('<table class="heat">') == 4
    for line in in_words(results):
        assert line in shown


def words_for(mean: list[list[float]], deviation: float, style: str = "paper") -> str:
    """The sentences for a mean gate with this deviation."""
    distance = np.array(mean) - 0.25
    figures = {
        "count": 9,
        "mean": mean,
        "deviation": np.full_like(distance, deviation).tolist(),
        "mean_distance": float(abs(distance).mean()),
        "largest_distance": float(abs(distance).max()),
        "largest_distance_in_deviations": None,
    }
    return " ".join(in_words({"style": style, "regions": {"picture": figures}}))


def test_sentences_for_a_gate_that_hardly_chooses() -> None:
    words = words_for([[0.263, 0.237, 0.25, 0.25]] * 2, 0.001)
    assert "differs from 1/4 by at most 0.013" in words
    assert "the gate hardly chooses among blocks (threshold 0.05)" in words
    assert "is at most 0.001: it hardly depends on the picture" in words
    assert "shows no preference of low layers" in words


def test_sentences_for_a_gate_that_chooses() -> None:
    low, high = [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]
    words = words_for([low, high], 0.2)
    assert "the gate chooses among blocks" in words
    assert "it depends on the picture" in words
    assert "The mean block number of the picture is 1.60 in the lower half" in words
    assert "and 3.40 in the upper half" in words
    assert "low layers prefer low blocks, as the paper reports" in words
    assert "prefer high blocks, contrary to the paper" in words_for([high, low], 0.2)
