"""Results: summaries of several seeds, tables, and models that are refused."""

from pathlib import Path
from typing import Any

import pytest

from model.config import ExtractorConfig
from pipeline.engine.files import read_json, write_json
from pipeline.errors import DataError
from pipeline.training.calibration import Item, calibrated
from pipeline.training.evaluate import check_pyramids
from pipeline.training.results import figures, precision_of, score_table, scores, summarise


def run(folder: Path, seed: int, f1: float) -> Path:
    """Write the folder of a run, with all that `summarise` reads."""
    folder = folder / str(seed)
    folder.mkdir()
    scores: dict[str, Any] = {"precision": f1 + 1, "recall": f1 - 1, "f1": f1, "per_class": {}}
    scores |= calibrated([Item(0.9, True)], asked=1)  # not shown in tables
    config = {"variant": "hvpnet", "style": "paper", "seed": seed}
    metrics = {"task": "re", "fingerprint": f"of {seed}", "best_epoch": 2, "config": config}
    write_json(folder / "metrics.json", {**metrics, "val": scores, "test": scores})
    return folder


def test_mean_and_sample_deviation(tmp_path: Path) -> None:
    runs = [run(tmp_path, seed, f1) for seed, f1 in ((1, 60.0), (49, 62.0), (7, 67.0))]
    summarise(runs, tmp_path, {"dataset": "mnre"})
    summary = read_json(tmp_path / "metrics.json")
    assert summary["mean"]["test"]["f1"] == pytest.approx(63)
    assert summary["deviation"]["test"]["f1"] == pytest.approx(13**0.5)  # (9 + 1 + 16) / 2
    assert summary["mean"]["val"]["precision"] == pytest.approx(64)
    assert summary["runs"]["49"]["test"]["f1"] == 62
    assert summary["runs"]["7"]["fingerprint"] == "of 7"
    assert summary["config"] == {"variant": "hvpnet", "style": "paper"}
    assert figures(summary, "test", ["f1"]) == "63.00 ± 3.61"


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    summarise([run(tmp_path, 1, 60.0)], tmp_path, {"dataset": "mnre"})
    assert read_json(tmp_path / "metrics.json")["deviation"]["test"]["f1"] == 0


@pytest.mark.parametrize(
    ("dataset", "entry", "shown"),
    [
        ("twitter2015", {"label_version": "original"}, "60.00  original labels"),
        (
            "twitter2015",
            {"label_version": "other labels: 1 of 9 tags differ"},
            "60.00  other labels: 1 of 9 tags differ",
        ),
        ("twitter2015", {}, "60.00  labels unknown"),
        ("mnre", {}, "59.00 / 60.00"),
    ],
)
def test_scores_say_which_labels(
    tmp_path: Path, dataset: str, entry: dict[str, str], shown: str
) -> None:
    folder = tmp_path / "TrainNER" / f"{dataset}-0123"
    folder.mkdir(parents=True)
    done = run(folder, 1, 60.0)
    for name in ("manifest.json", "metrics.json"):
        metrics = {**read_json(done / "metrics.json"), "dataset": dataset, **entry}
        write_json(folder / name, metrics)
    [_, line] = scores(tmp_path, ["TrainNER"], None)
    assert line.endswith(shown)


def test_a_table_of_runs_in_the_present_folder_fits_into_100_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("store/TrainNER/demo-0123456789abcdef").absolute()
    folder.mkdir(parents=True)
    metrics = read_json(run(tmp_path, 1234, 100.0) / "metrics.json")
    write_json(folder / "metrics.json", metrics | {"dataset": "demo"})
    head, line = score_table([folder])
    assert line.startswith("store/TrainNER/demo-0123456789abcdef  hvpnet ")
    assert len(line) <= 100
    assert line.index("101.00 / 99.00") == head.index("test P")


def test_a_summary_has_the_label_version_of_its_runs(tmp_path: Path) -> None:
    done = run(tmp_path, 1, 60.0)
    write_json(done / "metrics.json", read_json(done / "metrics.json") | {"label_version": "x"})
    summarise([done], tmp_path, {"dataset": "twitter2015"})
    assert read_json(tmp_path / "metrics.json")["label_version"] == "x"


class Made:
    """Pyramids of which only `made_by` is used."""

    def __init__(self, **made_by: Any) -> None:
        self.made_by = made_by


MADE = {"weights": "sha256 1", "grid": 2, "size": 224, "resize": "center", "precision": "float32"}


@pytest.mark.parametrize("name", ["weights", "grid", "size"])
def test_pyramids_of_another_kind_are_refused(name: str) -> None:
    config = ExtractorConfig(pyramids=MADE)
    same: Any = Made(**MADE)
    other: Any = Made(**MADE | {name: "other"})
    check_pyramids(config, same, Path("model"))
    with pytest.raises(DataError, match=f"with {name} .*; found {name} other; .*-{name}$"):
        check_pyramids(config, other, Path("model"))


def test_pyramids_of_nearly_the_same_kind_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    made: Any = Made(**MADE | {"resize": "stretch"})
    check_pyramids(ExtractorConfig(pyramids=MADE), made, Path("model"))
    [warning] = caplog.messages
    assert warning == "model: expected pyramids with resize center; found resize stretch"


@pytest.mark.parametrize(("pooling", "good"), [("floor", True), ("adaptive", False)])
def test_a_model_older_than_a_setting_has_its_default(pooling: str, good: bool) -> None:
    made: Any = Made(**MADE | {"pooling": pooling})
    config = ExtractorConfig(pyramids=MADE)  # without `pooling`
    if good:
        check_pyramids(config, made, Path("model"))
    else:
        with pytest.raises(DataError, match="with pooling floor; found pooling adaptive"):
            check_pyramids(config, made, Path("model"))


@pytest.mark.parametrize(
    ("model", "metrics", "precision"),
    [
        ("run/model", '{"config": {"precision": "bfloat16"}}', "bfloat16"),
        ("run/model", '{"task": "ner"}', "float32"),  # a run older than the setting
        (
            "run/renamed",
            '{"config": {"precision": "bfloat16"}}',
            "float32",
        ),  # not the model of this run
    ],
)
def test_precision_is_that_of_the_run(
    model: str, metrics: str, precision: str, tmp_path: Path
) -> None:
    (tmp_path / model).mkdir(parents=True)
    (tmp_path / "run/metrics.json").write_text(metrics)
    assert precision_of(tmp_path / model) == precision


def test_damaged_metrics_of_a_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError) as caught:
        precision_of(tmp_path / "model")
    assert str(caught.value) == (
        f"{tmp_path}/metrics.json: expected a training run's metrics, cannot be read as JSON "
        "(Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); restore "
        "the file, or move it away to use the model without it"
    )
