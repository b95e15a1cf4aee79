"""Training through the command line: a killed run, several seeds, evaluation."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli import LUIGI, outputs
from tests.world import EXTRACT, World, make_world

TRAIN = (
    *("--encoder", "scratch", "--learning-rate", "1e-3", "--head-learning-rate", "1e-3"),
    *("--evaluate-from", "1", "--epochs", "2"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_file(run / "model" / "model.safetensors")
    return state


def whole_json(file: Path) -> bool:
    """Return True if a JSON file is complete."""
    try:
        json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return True


def test_a_killed_run_resumes_and_ends_with_the_same_weights(world: World) -> None:
    options = (*TRAIN, *EXTRACT, "--epochs", "4", "--variant", "only-objects")
    undisturbed = World(world.data, world.store.with_name("undisturbed"))
    whole = undisturbed.result("TrainRE", *options)
    command = [str(LUIGI), "--module", "tasks", "TrainRE", "--dataset", "own", *options]
    paths = ["--paths-data", str(world.data), "--paths-store", str(world.store)]
    training = subprocess.Popen([*command, *paths], stderr=subprocess.DEVNULL)
    partial = f"TrainRE/.{whole.name}.partial"
    checkpoints = f"{partial}/checkpoints/checkpoint-*/trainer_state.json"
    while not any(map(whole_json, world.store.glob(checkpoints))):
        assert training.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.kill(training.pid, signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    assert not outputs(world.store, "TrainRE")
    resumed = world.run("TrainRE", "--dataset", "own", *options)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/4" not in resumed.stderr  # resumed, not started again
    assert "epoch 4/4" in resumed.stderr
    [again] = outputs(world.store, "TrainRE")
    assert again.name == whole.name
    assert not (again / "checkpoints").exists()
    resumed_weights, expected = weights(again), weights(whole)
    assert all(torch.equal(resumed_weights[name], expected[name]) for name in expected)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (again, whole)]
    assert metrics[0]["epochs"] == metrics[1]["epochs"]
    predictions = [(run / "predictions.jsonl").read_text() for run in (again, whole)]
    assert predictions[0] == predictions[1]


def test_seeds_are_run_once_each_and_summarised(world: World) -> None:
    options = (*TRAIN, *EXTRACT, "--variant", "text-only")
    before = len(outputs(world.store, "TrainNER"))
    first = world.metrics("TrainNER", *options, "--seed", "49")
    summary = world.metrics("TrainNER", *options, "--seeds", "1,49")
    assert len(outputs(world.store, "TrainNER")) == before + 3  # seed 49 was there
    assert summary["runs"].keys() == {"1", "49"}
    assert summary["runs"]["49"]["test"]["f1"] == first["test"]["f1"]
    assert summary["runs"]["49"]["fingerprint"] == first["fingerprint"]
    for split in ("val", "test"):
        scores = [run[split]["f1"] for run in summary["runs"].values()]
        assert summary["mean"][split]["f1"] == pytest.approx(sum(scores) / 2)
        difference = abs(scores[0] - scores[1])
        assert summary["deviation"][split]["f1"] == pytest.approx(difference / 2**0.5)
    done = world.run("TrainNER", "--dataset", "own", *options, "--seeds", "1,49,2021")
    assert done.returncode == 0, done.stderr
    assert len(outputs(world.store, "TrainNER")) == before + 5  # 2021, and the summary
    assert done.stderr.count("epoch 1/2") == 1
    table = world.printed("Scores", "--dataset", "own")
    assert "mean of 3" in table
    assert " ± " in table


@pytest.mark.parametrize("task", ["TrainRE", "TrainNER"])
def test_evaluation_gives_the_runs_own_scores(world: World, task: str) -> None:
    exact = ("--precision", "float32")  # Evaluate's default on every device
    run = world.result(task, *TRAIN, *EXTRACT, "--style", "released", *exact)
    trained = json.loads((run / "metrics.json").read_text())
    evaluated = world.result("Evaluate", "--model", str(run), *EXTRACT)
    assert not (evaluated / "checkpoints").exists()
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert {name: metrics[name] for name in ("task", "val", "test")} == {
        name: trained[name] for name in ("task", "val", "test")
    }
    predictions = [(folder / "predictions.jsonl").read_text() for folder in (run, evaluated)]
    assert predictions[0] == predictions[1]
    answers = [json.loads(line) for line in predictions[0].splitlines()]
    assert len({str(a.get("predicted_relation", a.get("predicted_tags"))) for a in answers}) > 1
    prune = ["--dry-run", *EXTRACT]
    assert f"Evaluate/{evaluated.name}" not in world.printed("Prune", *prune)
    assert f"Evaluate/{evaluated.name}" in world.printed("Prune", *prune, "--runs")


@pytest.mark.parametrize("damage", ["cut short", "a weight is gone"])
def test_a_half_written_model_is_refused(damage: str, world: World, tmp_path: Path) -> None:
    run = world.result("TrainRE", *TRAIN, *EXTRACT, "--variant", "text-only")
    shutil.copytree(run / "model", tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:-10])
    else:
        save_file({n: w for n, w in load_file(file).items() if n != "classifier.bias"}, file)
    refused = world.run("Evaluate", "--dataset", "own", "--model", str(tmp_path / "model"))
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    [line] = [line for line in refused.stderr.splitlines() if "run what made it again" in line]
    assert str(tmp_path / "model") in line


def test_fine_tuned_backbone_is_given_back_to_extraction(world: World) -> None:
    tuning = ("--finetune-backbone", "--backbone-learning-rate", "1e-3", "--epochs", "1")
    run = world.result("TrainRE", *TRAIN, *EXTRACT, *tuning)
    model = ("--model", str(run / "model"))
    refused = world.run("Evaluate", "--dataset", "own", *model, *EXTRACT)
    assert refused.returncode != 0
    [line] = [line for line in refused.stderr.splitlines() if "expected pyramids" in line]
    assert "expected pyramids with weights sha256" in line
    assert "found weights random; extract them with --ExtractPyramid-weights" in line
    weights = ("--ExtractPyramid-weights", str(run / "model/backbone.safetensors"))
    evaluated = world.metrics("Evaluate", *model, *EXTRACT, *weights)
    trained = json.loads((run / "metrics.json").read_text())
    assert trained["weights"] == {}  # the weights are random
    assert evaluated["weights"]["backbone"]["file"] == str(run / "model/backbone.safetensors")
    for split in ("val", "test"):
        assert evaluated[split]["f1"] == pytest.approx(trained[split]["f1"])
    assert world.report()["pictures_computed"] == 40


def test_prune_keeps_what_the_configuration_names_or_reads(world: World) -> None:
    few = (*TRAIN, "--epochs", "1", "--variant", "text-only")
    world.result("TrainNER", *few, "--seeds", "7,8")
    kept = {folder.name for folder in outputs(world.store, "TrainNER")[-3:]}
    options = [
        f"--TrainNER-{option.removeprefix('--')}" if option.startswith("--") else option
        for option in few
    ]
    imported = world.store / "ImportReleased" / "own-0123456789abcdef"
    imported.mkdir(parents=True)
    (imported / "manifest.json").write_text('{"files": {}}')
    (imported / "backbone.safetensors").write_bytes(b"weights")
    weights = ("--ExtractPyramid-weights", str(imported / "backbone.safetensors"))
    command = ("Prune", "--dry-run", "--runs", *options, "--TrainNER-seeds", "7,8", *weights)
    printed = world.printed(*command)
    assert not [line for line in printed.splitlines() if any(name in line for name in kept)]
    assert imported.name not in printed
    others = {folder.name for folder in outputs(world.store, "TrainNER")} - kept
    assert all(f"TrainNER/{name}" in printed for name in others)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("TrainRE", ("--variant", "1t3", "--style", "released"), "expected --style paper"),
        ("Evaluate", ("--model", "nowhere"), "--model: expected a file or folder, found nothing"),
        ("Evaluate", ("--model", "bench"), "bench: expected a model folder made by training"),
        ("TrainRE", ("--seeds", "1,x"), "--seeds: expected numbers such as 1,49,1234, found '1,x'"),
        ("ImportReleased", ("--checkpoint", "no.pth"), "--checkpoint: expected a file or folder"),
    ],
)
def test_an_impossible_option_is_an_error_of_one_line(
    world: World, task: str, options: tuple[str, ...], message: str
) -> None:
    done = world.run(task, "--dataset", "own", *options)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_recipes_are_printed_and_can_be_overridden(world: World) -> None:
    table = world.printed("Recipes", "--dataset", "own")
    assert max(map(len, table.splitlines())) <= 100
    epochs = [line.split() for line in table.splitlines() if line.startswith("--epochs")]
    assert epochs == [["--epochs", "12", "15", "30", "12"], ["--epochs", "30", "30", "30", "12"]]
    metrics = world.metrics(
        "TrainRE", "--recipe", "released", *TRAIN, *EXTRACT, "--variant", "text-only"
    )
    assert metrics["config"]["warmup"] == 0.06  # from the recipe
    assert metrics["config"]["epochs"] == 2  # given
