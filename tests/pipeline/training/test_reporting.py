"""What TensorBoard and other trackers get from a run."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers.integrations import TensorBoardCallback, integration_utils
from transformers.trainer_callback import TrainerCallback

import tasks
from model.relation import RelationExtractor
from pipeline.errors import SettingError
from pipeline.training.batches import Collator
from pipeline.training.config import TrainConfig
from pipeline.training.encode import Encoded
from pipeline.training.head_of import HEADS
from pipeline.training.reporting import check_trackers, final_figures, write_final
from pipeline.training.trainer import make_trainer
from tests.tiny import extractor_config

PRF = {"precision": 50.0, "recall": 25.0, "f1": 100 / 3}
PER, LOC = {"f1": 40.0}, {"f1": 0.0}
RESULTS: dict[str, Any] = {
    "val": {**PRF, "per_class": {}, "calibration": {"error": None}},
    "test": {
        **PRF,
        "strict": {name: value / 2 for name, value in PRF.items()},
        "per_class": {"PER": PER, "/loc/loc/contain": LOC},
        "calibration": {"error": 0.125},
    },
}


def events(folder: Path) -> EventAccumulator:
    """Read all event files of a folder."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def scalars(folder: Path) -> dict[str, float]:
    """Return the last value of each scalar in a folder's event files."""
    read = events(folder)
    return {tag: read.Scalars(tag)[-1].value for tag in read.Tags()["scalars"]}


def test_final_figures_are_written_as_scalars(tmp_path: Path) -> None:
    write_final(tmp_path, RESULTS, {"epochs": 3, "encoder": None, "variant": "flat"}, step=12)
    expected = {f"final/{split}/{name}": v for split in ("val", "test") for name, v in PRF.items()}
    expected |= {f"final/test/strict/{name}": v / 2 for name, v in PRF.items()}
    expected |= {"final/test/class_f1/PER": 40.0, "final/test/class_f1/loc/loc/contain": 0.0}
    expected |= {"final/test/calibration_error": 0.125}
    assert scalars(tmp_path) == pytest.approx(expected)
    assert dict(final_figures(RESULTS)) == expected
    read = events(tmp_path)
    assert [event.step for event in read.Scalars("final/test/f1")] == [12]
    assert read.Tags()["scalars"].count("final/test/f1") == 1
    content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"variant" in content
    assert b"flat" in content


def test_trackers_that_are_unknown_or_not_installed_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "transformers.integrations.get_available_reporting_integrations", lambda: ["wandb"]
    )
    check_trackers(["wandb", "tensorboard"])
    with pytest.raises(SettingError, match="found trackio; pip install trackio"):
        check_trackers(["wandb", "trackio"])
    with pytest.raises(SettingError, match="found comet_ml; pip install comet-ml"):
        check_trackers(["comet_ml"])
    with pytest.raises(SettingError, match=r"expected some of azure_ml, .*wandb, found 'wanbd'"):
        check_trackers(["wanbd"])


def test_trackers_are_passed_on_and_tensorboard_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tracker(TrainerCallback):
        pass

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "wandb", Tracker)
    encoded = {name: [Encoded(0, [1, 2], [0, 1], [0])] for name in ("train", "val")}
    model, collator = RelationExtractor(extractor_config()), Collator(0, HEADS["re"].collate)
    names = ("tensorboard", "wandb")
    trainer = make_trainer(model, encoded, collator, TrainConfig(), tmp_path, "cpu", names)
    callbacks = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert callbacks.count(Tracker) == 1
    assert callbacks.count(TensorBoardCallback) == 1


@pytest.mark.parametrize("task", [tasks.TrainRE, tasks.TrainNER])
def test_trackers_are_checked_before_anything_is_computed(task: type[tasks.Stage]) -> None:
    stage = task(dataset="own", report_to=("wandb", "wanbd"))
    with pytest.raises(SettingError, match="--report-to: "):
        stage.config  # noqa: B018
    for given in ("", "wandb, mlflow,wandb"):
        names = task.report_to.parse(given)
        assert names == (("wandb", "mlflow") if given else ())
