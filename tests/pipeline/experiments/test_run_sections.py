"""Test the report's sections about runs: groups, confusion, calibration over seeds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.engine.digests import Digests
from pipeline.engine.outputs import MANIFEST
from pipeline.experiments.run_groups import run_groups, unusable
from pipeline.experiments.run_sections import confusion_counts, merged_bins, runs_section
from pipeline.training.score import relation_scores

PREDICTED = ["friends", "None", "borders", "None"]
GOLD = ["friends", "friends", "None", "None"]
BIN = {"count": 2, "confidence": 0.8, "accuracy": 0.5}


def write_run(store: Path, name: str, digests: Digests, **changes: Any) -> Path:
    """Write a finished run of TrainRE on `own` with these settings and entries."""
    folder = store / "TrainRE" / f"own-{name}"
    folder.mkdir(parents=True)
    scores = relation_scores(GOLD, PREDICTED) | {"calibration": {"error": 0.1, "bins": [BIN]}}
    config = {"variant": "hvpnet", "style": "paper", "seed": 1, "epochs": 2, "encoder": "scratch"}
    metrics = {
        "task": "re",
        "dataset": "own",
        "best_epoch": 2,
        "posts": {"train": 4},
        "epochs": [{"epoch": n, "f1": 10.0 * n} for n in (1, 2)],
        "val": scores,
        "test": scores,
        "versions": {"torch": "2"},
        "keys": [{"stage": "GroundCrops", "settings": {"phrases": changes.pop("phrases", "a")},
                  "sources": {"a.jpg": "0123"}}],
        "label_version": changes.pop("labels", None),
        "config": config | changes,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    lines = [
        {"id": str(n), "split": "test", "relation": gold, "predicted_relation": answer}
        for n, (gold, answer) in enumerate(zip(GOLD, PREDICTED, strict=True))
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    finish(folder, name, digests)
    return folder


def finish(folder: Path, name: str, digests: Digests) -> None:
    """Write the manifest of a run's files."""
    files = {p.name: digests.of(p) for p in sorted(folder.iterdir()) if p.name != MANIFEST}
    key: dict[str, Any] = {"dataset": "own", "settings": {}, "sources": {}, "requires": {}}
    manifest = {"fingerprint": name, "key": key, "files": files, "made": "2026", "seconds": 7}
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    return Digests(tmp_path / "digests.sqlite")


def test_only_runs_that_differ_in_their_seed_are_averaged(tmp_path: Path, digests: Digests) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 2},
        {"seed": 3, "encoder": "bert"},
        {"seed": 3, "phrases": "b"},
        {"seed": 3, "labels": "original"},
        {"seed": 3, "labels": "1 of 9 tags differ"},
    ]
    for number, change in enumerate(changes):
        write_run(tmp_path, f"{number:016x}", digests, **change)
    groups = run_groups(tmp_path, ["own"], digests)
    assert sorted([*group.runs] for group in groups) == [[1, 2], [3], [3], [3], [3]]
    assert {group.name for group in groups} == {
        "hvpnet, encoder scratch, phrases a",
        "hvpnet, encoder bert, phrases a",
        "hvpnet, encoder scratch, phrases b",
        "hvpnet, encoder scratch, labels original, phrases a",
        "hvpnet, encoder scratch, labels 1 of 9 tags differ, phrases a",
    }


def test_settings_of_systems_do_not_tell_their_runs_apart(tmp_path: Path, digests: Digests) -> None:
    mtb = {"system": "mtb", "variant": "text-only", "epochs": 10, "dropout": 0.5}
    changes: list[dict[str, Any]] = [{}, {"seed": 2}, mtb, {**mtb, "seed": 2}]
    for number, change in enumerate(changes):
        write_run(tmp_path, f"{number:016x}", digests, **change)
    groups = {group.name: [*group.runs] for group in run_groups(tmp_path, ["own"], digests)}
    assert groups == {"hvpnet": [1, 2], "MTB": [1, 2]}
    write_run(tmp_path, "a" * 16, digests, **{**mtb, "epochs": 12})
    groups = {group.name: [*group.runs] for group in run_groups(tmp_path, ["own"], digests)}
    assert groups == {"hvpnet": [1, 2], "MTB, epochs 10": [1, 2], "MTB, epochs 12": [1]}


def test_runs_older_than_a_setting_have_its_default(tmp_path: Path, digests: Digests) -> None:
    write_run(tmp_path, "a" * 16, digests)
    write_run(tmp_path, "b" * 16, digests, seed=2, train_share=1.0, start_from=None)
    write_run(tmp_path, "c" * 16, digests, seed=2, train_share=0.5)
    groups = {group.name: [*group.runs] for group in run_groups(tmp_path, ["own"], digests)}
    assert groups == {"hvpnet, train share 1.0": [1, 2], "hvpnet, train share 0.5": [2]}


def test_started_runs_are_grouped_by_where_they_started(tmp_path: Path, digests: Digests) -> None:
    start = {"dataset": "own", "task": "ner"}
    for seed in (1, 2):
        folder = write_run(tmp_path, f"{seed:016x}", digests, seed=seed, start_from=f"/x/{seed}")
        metrics = json.loads((folder / "metrics.json").read_text()) | {"start": start}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        finish(folder, f"{seed:016x}", digests)
    write_run(tmp_path, "c" * 16, digests)
    groups = {group.name: [*group.runs] for group in run_groups(tmp_path, ["own"], digests)}
    assert groups == {"hvpnet, start from own (ner)": [1, 2], "hvpnet": [1]}


def test_groups_with_equal_settings_have_different_names(tmp_path: Path, digests: Digests) -> None:
    for number, texts in enumerate(("a", "b")):
        folder = write_run(tmp_path, f"{number:016x}", digests)
        metrics = json.loads((folder / "metrics.json").read_text())
        key = {"stage": "ReadPosts", "settings": {}, "sources": {"posts.jsonl": texts}}
        metrics["keys"].append(key)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        finish(folder, f"{number:016x}", digests)
    assert [group.name for group in run_groups(tmp_path, ["own"], digests)] == [
        "hvpnet",
        "hvpnet #2",
    ]


def test_damaged_and_unfinished_runs_are_not_averaged_but_named(
    tmp_path: Path, digests: Digests
) -> None:
    write_run(tmp_path, "a" * 16, digests)
    damaged = write_run(tmp_path, "b" * 16, digests, seed=2)
    (damaged / "metrics.json").write_text("{}")
    (tmp_path / "TrainRE" / f".own-{'c' * 16}.partial").mkdir()
    (tmp_path / "TrainRE" / f".other-{'d' * 16}.partial").mkdir()
    [group] = run_groups(tmp_path, ["own"], digests)
    assert [*group.runs] == [1]
    assert unusable(tmp_path, ["TrainRE"], ["own"], digests) == [
        f"TrainRE/own-{'b' * 16}: damaged (metrics.json was altered)",
        f"TrainRE/own-{'c' * 16}: not finished; it is running, or it failed",
    ]


def test_confusion_is_counted_over_seeds(tmp_path: Path, digests: Digests) -> None:
    for seed in (1, 2):
        write_run(tmp_path, f"{seed:016x}", digests, seed=seed)
    [group] = run_groups(tmp_path, ["own"], digests)
    labels, counts = confusion_counts([*group.runs.values()])
    assert labels == ["None", "borders", "friends"]
    expected = np.zeros((3, 3), dtype=int)
    for gold, answer in zip(GOLD, PREDICTED, strict=True):
        expected[labels.index(gold), labels.index(answer)] += 2
    assert (counts == expected).all()


def test_bins_are_merged_by_their_counts() -> None:
    empty = {"count": 0, "confidence": None, "accuracy": None}
    other = {"count": 6, "confidence": 0.6, "accuracy": 1.0}
    assert merged_bins([[BIN, empty], [other, empty]]) == [(pytest.approx(0.65), 0.875)]


def test_charts_are_the_same_each_time(tmp_path: Path, digests: Digests) -> None:
    write_run(tmp_path, "a" * 16, digests)
    groups = run_groups(tmp_path, ["own"], digests)
    drawn: list[dict[str, str]] = [{}, {}]
    for charts in drawn:
        runs_section("own", "re", groups, charts)
    assert drawn[0].keys() == {
        "learning-own-re.svg",
        "calibration-own-re.svg",
        "confusion-own-re-0.svg",
    }
    assert drawn[0] == drawn[1]


def test_each_class_has_its_f1(tmp_path: Path, digests: Digests) -> None:
    write_run(tmp_path, "a" * 16, digests)
    page = runs_section("own", "re", run_groups(tmp_path, ["own"], digests), {})
    f1 = relation_scores(GOLD, PREDICTED)["per_class"]["friends"]["f1"]
    assert f"<th><bdi>friends</bdi></th><td>2</td><td>{f1:.2f}</td>" in page
