"""The example of docs/models.md, a system of one's own: trained, evaluated, predicted with."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from model.systems import names
from pipeline.corpus.labels import entities_of
from pipeline.engine.digests import in_a_word, of_file
from pipeline.engine.files import read_json
from pipeline.errors import DataError
from pipeline.prediction.cli import app
from pipeline.prediction.extractor import Extractor
from pipeline.prediction.pack import pack
from pipeline.prediction.runs import Files
from pipeline.training.saved import SavedModel
from tests.cli import HOME
from tests.markdown import blocks
from tests.model import test_systems as battery
from tests.pipeline.prediction.trained import in_words, label_of
from tests.world import EXTRACT, World, make_world

OPTIONS = (
    *("--system", "gated-picture", "--encoder", "scratch", "--epochs", "1"),
    *("--learning-rate", "2e-3", "--GroundCrops-grounder", "salience", *EXTRACT),
)


@dataclass(frozen=True)
class Own:
    """A world, the file of a system of its own, and a run of each task."""

    world: World
    file: Path
    runs: dict[str, Path]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    root = tmp_path_factory.mktemp("own")
    file = root / "systems/gated_picture.py"
    file.parent.mkdir()
    [example] = blocks(HOME / "docs/models.md", "python")
    file.write_text(example, encoding="utf-8")
    world = make_world(root, posts=(12, 4, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HVPNET_SYSTEMS", str(file.parent))
        runs = {task: world.result(task, *OPTIONS) for task in ("TrainRE", "TrainNER")}
    return Own(world, file, runs)


@pytest.fixture(autouse=True)
def environment(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HVPNET_SYSTEMS", str(own.file.parent))


def predicted(run: Path) -> list[dict]:
    return [*map(json.loads, (run / "predictions.jsonl").read_text().splitlines())]


@pytest.mark.parametrize("task", ["ner", "re"])
def test_it_passes_the_checks_of_all_systems(task: str) -> None:
    battery.test_one_post_alone_equals_the_same_in_a_batch("gated-picture", task)
    battery.test_padding_changes_nothing("gated-picture", task)
    battery.test_masked_regions_change_nothing("gated-picture", task)
    battery.test_every_parameter_is_in_one_group_and_gets_a_gradient("gated-picture", task)


@pytest.mark.parametrize("packed", [False, True])
def test_relations_are_those_that_the_run_predicted(packed: bool, own: Own, tmp_path: Path) -> None:
    run, lines = own.runs["TrainRE"], predicted(own.runs["TrainRE"])
    records = [
        {name: line[name] for name in ("tokens", "head", "tail")}
        | {"picture": str(own.world.data / line["picture"])}
        for line in lines
    ]
    if packed:
        pack([run], tmp_path / "packed", Files())
        assert not [*(tmp_path / "packed").rglob("*.py")]
        run = tmp_path / "packed"
    predictions = Extractor.load(run).predict(records, strict=True)
    assert [label_of(one) for one in predictions] == [line["predicted_relation"] for line in lines]


def test_entities_are_those_that_the_run_predicted(own: Own) -> None:
    lines = predicted(own.runs["TrainNER"])
    records = [
        {"tokens": line["tokens"], "picture": str(own.world.data / line["picture"])}
        for line in lines
    ]
    predictions = Extractor.load(own.runs["TrainNER"]).predict(records, strict=True)
    assert [in_words(one) for one in predictions] == [
        entities_of(line["predicted_tags"]) for line in lines
    ]


def test_an_evaluation_predicts_the_same(own: Own) -> None:
    run = own.runs["TrainRE"]
    again = own.world.result("Evaluate", "--model", str(run), *OPTIONS[8:])
    assert predicted(again) == predicted(run)


def test_the_file_is_in_the_key_and_its_digest_in_the_model(own: Own) -> None:
    key = read_json(own.runs["TrainRE"] / "manifest.json")["key"]
    digest = of_file(own.file)
    assert key["sources"]["system"] == in_a_word(digest)
    assert read_json(own.runs["TrainRE"] / "model/config.json")["system_digest"] == digest


def test_a_changed_file_is_one_warning(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = own.runs["TrainRE"] / "model"
    with caplog.at_level(logging.WARNING):
        SavedModel.open(model)
    assert not caplog.records
    (tmp_path / own.file.name).write_text(own.file.read_text() + "# changed\n")
    monkeypatch.setenv("HVPNET_SYSTEMS", str(tmp_path))
    SavedModel.open(model)
    [record] = caplog.records
    assert "expected the file of system gated-picture as at training" in record.getMessage()
    assert str(tmp_path / own.file.name) in record.getMessage()


def test_without_its_folder_a_model_says_what_to_set(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HVPNET_SYSTEMS")
    message = "found one of 'gated-picture'; set HVPNET_SYSTEMS to the folder of its file$"
    with pytest.raises(DataError, match=message):
        SavedModel.open(own.runs["TrainRE"] / "model")


def test_a_wrong_folder_is_one_line_of_each_command(
    own: Own, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HVPNET_SYSTEMS", "nowhere")
    line = "HVPNET_SYSTEMS: expected a folder of systems, found none at nowhere"
    done = own.world.run("Recipes")
    assert (done.returncode, done.stderr.splitlines()) == (40, [line])  # as a bad luigi.cfg
    with pytest.raises(SystemExit):
        app(["predict", str(own.runs["TrainRE"]), "--text", "Ada"])
    assert capsys.readouterr().err == f"hvpnet: {line}\n"


def test_a_wrong_name_is_refused_with_the_right_ones(own: Own) -> None:
    done = own.world.run("TrainRE", "--system", "gated-pictures")
    assert done.returncode != 0
    known = ", ".join(sorted({*names(), "gated-picture"}))
    assert done.stderr.splitlines() == [
        f"--system: expected one of {known}, found 'gated-pictures'; did you mean gated-picture?"
    ]
