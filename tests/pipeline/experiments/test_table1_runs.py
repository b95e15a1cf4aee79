"""Test which trainings Table1 names: a row for each choice of crops, one precision."""

from pathlib import Path

import pytest

import tasks
from pipeline.errors import SettingError
from tests.staleness import Layouts, plain_machine, write_layouts

DETECTOR = {"GroundCrops.grounder": "detector", "GroundCrops.weights": "FILES/detector"}
CROPS = ("spacy", "entities-leaked")
OPTIONS = {"datasets": ("own",), "tasks": ("re",), "seeds": (1,)}


def test_each_choice_of_phrases_is_a_row_with_its_own_crops(tmp_path: Path) -> None:
    with plain_machine(), write_layouts(tmp_path).configured(DETECTOR):
        table = tasks.Table1(**OPTIONS, variants=("text-only", "hvpnet"), crops=CROPS)
        rows = table.rows()
        assert [row.name for row in rows] == ["text-only", *(f"hvpnet, {c}" for c in CROPS)]
        runs = [run for row in rows for run in row.trainings.values()]
        assert [run.grounding.config.phrases for run in runs[1:]] == [*CROPS]
        assert len({run.extraction.fingerprint for run in runs[1:]}) == 2
        assert len({run.fingerprint for run in runs}) == 3
        assert table.requires() == runs
        # Without --crops, the crops are those that GroundCrops is set to.
        [plain] = tasks.Table1(**OPTIONS, variants=("hvpnet",)).rows()
        assert plain.trainings[1].grounding == tasks.GroundCrops(dataset="own")


def test_a_grounder_that_reads_no_phrases_is_refused(tmp_path: Path) -> None:
    with (
        plain_machine(),
        write_layouts(tmp_path).configured({"GroundCrops.grounder": "salience"}),
        pytest.raises(SettingError, match="--crops: expected a grounder that reads phrases"),
    ):
        tasks.Table1(**OPTIONS, crops=CROPS).check_options()


def test_all_runs_of_a_table_have_the_precision_of_the_first(tmp_path: Path) -> None:
    """Of two runs, the second exists in another precision."""
    world = write_layouts(tmp_path)
    world = Layouts(world.root, str(tmp_path / "store"))
    with plain_machine(), world.configured({}):
        other = tasks.TrainRE(dataset="own", variant="text-only", seed=2, precision="bfloat16")
        other.folder.mkdir(parents=True)
        (other.folder / "manifest.json").touch()
        alone = tasks.TrainRE(dataset="own", variant="text-only", seed=2)
        assert alone.config.precision == "bfloat16"
        options = {"datasets": ("own",), "tasks": ("re",), "variants": ("text-only",)}
        for seeds, precision in (((1, 2), "float32"), ((2, 3), "bfloat16")):
            [row] = tasks.Table1(**options, seeds=seeds).rows()
            assert {run.config.precision for run in row.trainings.values()} == {precision}
