"""Test which trainings Table1 names: rows of crops and systems, one precision."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks
from pipeline.errors import SettingError
from pipeline.experiments.tasks import Runs
from pipeline.training.config import TrainConfig
from tests.model.test_systems import write_system
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


# --- other systems

RELATIONS = ("re",)
ENTITIES = ("ner",)


def table1(
    world: Path, given: dict[str, str] | None = None, **options: Any
) -> tuple[tasks.Table1, list[Runs]]:
    """Return a table of `own` and its rows. given: what is configured beside it."""
    with plain_machine(), write_layouts(world).configured(given or {}):
        table = tasks.Table1(**{"datasets": ("own",), "seeds": (1,), **options})
        table.check_options()
        assert table.fingerprint
        return table, table.rows()


def configs(rows: list[Runs]) -> dict[str, TrainConfig]:
    return {row.name: row.trainings[1].config for row in rows}


def test_a_system_is_a_row_with_its_own_settings(tmp_path: Path) -> None:
    _, rows = table1(
        tmp_path,
        tasks=RELATIONS,
        variants=("hvpnet",),
        systems=("mtb",),
        styles=("released", "paper"),
    )
    found = configs(rows)
    assert [*found] == ["hvpnet, released", "hvpnet, paper", "MTB, paper"]
    config = found["MTB, paper"]
    assert (config.system, config.variant, config.style) == ("mtb", "text-only", "paper")
    assert (config.epochs, config.dropout, config.optimizer) == (10, 0.5, "adamw-uncorrected")


def test_a_system_has_the_equations_style_whatever_is_asked(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tasks": RELATIONS, "variants": ("hvpnet",), "systems": ("mtb",)}
    _, rows = table1(tmp_path, styles=("released",), **options)
    styles = {name: config.style for name, config in configs(rows).items()}
    assert styles == {"hvpnet": "released", "MTB": "paper"}


def test_options_of_trainings_are_of_systems_too(tmp_path: Path) -> None:
    given = {"TrainRE.recipe": "common", "TrainRE.batch_size": "3", "TrainRE.precision": "bfloat16"}
    _, rows = table1(tmp_path, given, tasks=RELATIONS, variants=("text-only",), systems=("mtb",))
    own, mtb = configs(rows).values()
    assert mtb == replace(own, system="mtb")
    assert (mtb.batch_size, mtb.precision) == (3, "bfloat16")


def test_bert_crf_and_hvpnet_are_variants(tmp_path: Path) -> None:
    both, named = ("text-only", "hvpnet"), ("bert-crf", "hvpnet")
    table, _ = table1(tmp_path / "named", tasks=ENTITIES, variants=both, systems=named)
    plain, _ = table1(tmp_path / "plain", tasks=ENTITIES, variants=both)
    assert table.fingerprint == plain.fingerprint
    _, rows = table1(tmp_path / "added", tasks=ENTITIES, variants=("flat",), systems=named)
    assert [row.name for row in rows] == ["flat", "text-only", "hvpnet"]


def test_all_leaves_out_what_is_made_for_another_task(tmp_path: Path) -> None:
    table, rows = table1(tmp_path, variants=("flat",), systems=("all",))
    names = {task: [row.name for row in rows if row.task == task] for task in ("re", "ner")}
    assert {"flat", "MTB"} <= {*names["re"]} - {"text-only", "hvpnet"} == {*names["re"]}
    assert {"flat", "text-only"} <= {*names["ner"]} - {"MTB", "hvpnet"} == {*names["ner"]}
    relations, entities = table.left_out()
    assert "bert-crf" in relations.removeprefix("own, relations: without ")
    assert "mtb" in entities.removeprefix("own, entities: without ")
    assert "mtb" not in relations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ENTITIES, "systems": ("mtb",)}, "entities (own), found mtb, made for relations"),
        ({"systems": ("all", "bert-crf")}, "relations (own), found bert-crf, made for entities"),
    ],
)
def test_a_named_system_made_for_another_task_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=re.escape(f"expected systems made for {message}")):
        table1(tmp_path, **options)


def own_system(folder: Path, patch: pytest.MonkeyPatch, pictures: bool, words: bool) -> str:
    """Write a system of a user's own. words: whether it reads words instead of word pieces."""
    lines = f"class A:\n    reads_pictures = {pictures}\n    reads_words = {words}\n"
    return write_system(folder, patch, lines)


CROPS_AND_TEXTS = [
    *(", spacy", ", spacy, captions"),
    *(", entities-leaked", ", entities-leaked, captions"),
]


@pytest.mark.parametrize(
    ("pictures", "words", "rows"),
    [
        (False, False, ["", ", captions"]),
        (False, True, [""]),
        (True, False, CROPS_AND_TEXTS),
        (True, True, [", spacy", ", entities-leaked"]),
    ],
    ids=["pieces", "words", "pictures", "pictures-and-words"],
)
def test_crops_and_texts_are_rows_of_what_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: bool, words: bool, rows: list[str]
) -> None:
    name = own_system(tmp_path, monkeypatch, pictures, words)
    _, made = table1(
        tmp_path / "world",
        DETECTOR,
        tasks=ENTITIES,
        variants=("text-only",),
        systems=(name,),
        crops=CROPS,
        knowledge=("none", str(tmp_path / "world/files/captions.jsonl")),
    )
    own = [row for row in made if "system" in row.fields]
    assert [row.name for row in own] == [f"{name}{end}" for end in rows]
    for row in own:
        config = row.trainings[1].config
        assert (config.system, config.variant != "text-only") == (name, pictures)
        assert config.knowledge == row.name.endswith("captions")
        assert row.has_controls == (pictures or config.knowledge)


def test_texts_are_chosen_by_the_table_for_systems_that_read_none_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = own_system(tmp_path, monkeypatch, pictures=False, words=True)
    texts = str(tmp_path / "world/files/captions.jsonl")
    with pytest.raises(SettingError, match="--TrainNER-knowledge: expected no value, here or in"):
        table1(
            tmp_path / "world",
            {"TrainNER.knowledge": "true"},
            tasks=ENTITIES,
            variants=("text-only",),
            systems=(name,),
            knowledge=(texts,),
        )


def test_options_that_a_system_does_not_read_are_of_the_others(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("word 0.5")
    given = {
        "TrainNER.word_vectors": str(vectors),
        "TrainNER.encoder": "scratch",
        "TrainNER.knowledge": "true",
        "DescribePictures.files": "FILES/captions.jsonl",
    }
    options: dict[str, Any] = {"variants": ("text-only",), "systems": ("cnn-bilstm-crf",)}
    _, rows = table1(tmp_path / "world", given, tasks=ENTITIES, **options)
    own, words = configs(rows).values()
    assert (own.encoder, own.knowledge, own.word_vectors) == ("scratch", True, None)
    assert (words.encoder, words.knowledge, words.word_vectors) == (None, False, str(vectors))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tasks.Table1, "as Table1 chooses it; use --systems"),
        (tasks.Cases, "as Cases chooses it; use --systems"),
        (tasks.LowResource, "as LowResource trains hvpnet alone; remove it"),
        (tasks.CrossTask, "as CrossTask trains hvpnet alone; remove it"),
        (tasks.Gates, "as Gates trains hvpnet alone; remove it"),
    ],
)
def test_the_system_is_no_option_of_trainings(tmp_path: Path, kind: Any, message: str) -> None:
    with plain_machine(), write_layouts(tmp_path).configured({"TrainRE.system": "mtb"}):
        experiment = kind(datasets=("own",), quick=True)
        with pytest.raises(SettingError, match=f"^--TrainRE-system: .* {message}$"):
            experiment.check_options()


def test_cases_are_of_systems_too(tmp_path: Path) -> None:
    options = {"datasets": ("own",), "tasks": RELATIONS, "variants": ("hvpnet",)}
    with plain_machine(), write_layouts(tmp_path).configured({}):
        cases = tasks.Cases(**options, styles=("released",), systems=("mtb",))
        cases.check_options()
        styles = {name: config.style for name, config in configs(cases.rows()).items()}
        assert styles == {"hvpnet": "released", "MTB": "paper"}
