"""Test rows of scores: what is compared with what, and what the sentences say."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.experiments.published import TABLE_1, cited_name, footnote
from pipeline.experiments.rows import Row, score_rows, sentence
from pipeline.experiments.runs import TrainedRun
from pipeline.experiments.significance import Interval
from pipeline.experiments.table1 import measured, text
from pipeline.training.score import relation_scores

GOLD = ["friends", "None", "borders", "friends", "borders", "None"] * 5


def run(
    folder: Path, predicted: list[str], first: int = 0, about: dict[str, Any] | None = None
) -> TrainedRun:
    """Write a run's files. first: number of its first post; about: more of its metrics."""
    folder.mkdir(parents=True)
    lines = [
        {"id": str(n), "split": "test", "relation": gold, "predicted_relation": answer}
        for n, (gold, answer) in enumerate(zip(GOLD, predicted, strict=True), start=first)
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = relation_scores(GOLD, predicted)
    metrics = {"task": "re", "dataset": "own", "best_epoch": 1, "val": scores, "test": scores}
    (folder / "metrics.json").write_text(json.dumps(metrics | (about or {})))
    return TrainedRun(folder, folder.name, folder, folder, None)


def wrong(*places: int) -> list[str]:
    """Return the gold relations, with None in these places."""
    return ["None" if n in places else label for n, label in enumerate(GOLD)]


def rows_of(folder: Path, **runs: list[str]) -> list[dict[str, Any]]:
    rows = [
        Row("own", "re", {"variant": name.replace("_", "-")}, {1: run(folder / name, predicted)})
        for name, predicted in runs.items()
    ]
    return score_rows(rows)


def test_rows_are_compared_with_the_text_only_row(tmp_path: Path) -> None:
    text_only, better = rows_of(tmp_path, text_only=wrong(0, 2, 3, 4, 6, 8), hvpnet=wrong(0))
    assert text_only["differences"] == {}
    gain = better["mean"]["test"]["f1"] - text_only["mean"]["test"]["f1"]
    found = better["differences"]["text-only"]
    assert found["value"] == pytest.approx(gain)
    assert 0 < found["low"] < gain < found["high"]
    assert better["words"][0].endswith(": shown to help")
    assert better["deviation"]["test"]["f1"] is None  # of one seed


def test_equal_predictions_show_nothing(tmp_path: Path) -> None:
    _, same = rows_of(tmp_path, text_only=wrong(0, 2), hvpnet=wrong(0, 2))
    assert same["words"] == [
        "hvpnet: pictures add +0.00 F1, 95 % interval +0.00 to +0.00: not shown to help",
        "hvpnet: no controls, as a fine-tuned backbone makes its own pyramids",
    ]


def test_rows_are_compared_within_their_other_fields(tmp_path: Path) -> None:
    answers = {"5 %": wrong(0, 2, 3), "50 %": wrong(0)}
    rows = [
        Row(
            *("own", "re", {"variant": variant, "share": share}),
            {1: run(tmp_path / f"{variant}-{share[:2]}", predicted)},
        )
        for share, predicted in answers.items()
        for variant in ("text-only", "hvpnet")
    ]
    found = score_rows(rows)
    assert [row["differences"].get("text-only", {}).get("value") for row in found] == [
        *(None, 0),
        *(None, 0),
    ]


def test_crops_are_compared_with_text_only_too(tmp_path: Path) -> None:
    rows = [
        Row("own", "re", {"variant": "text-only", "crops": None}, {1: run(tmp_path / "a", GOLD)}),
        Row("own", "re", {"variant": "hvpnet", "crops": "spacy"}, {1: run(tmp_path / "b", GOLD)}),
    ]
    more = Row("own", "re", {"variant": "hvpnet", "crops": "x"}, {1: run(tmp_path / "c", GOLD)})
    scored = score_rows([*rows, more])
    assert [[*row["differences"]] for row in scored] == [
        [],
        ["text-only"],
        ["text-only", "crops spacy"],
    ]


def test_rows_with_texts_are_compared_with_those_without_and_with_others(tmp_path: Path) -> None:
    answers = {None: wrong(0, 2, 3), "llm": wrong(0), "shuffled llm": wrong(0, 2)}
    rows = [
        Row(
            *("own", "re", {"variant": "text-only", "knowledge": name}),
            {1: run(tmp_path / str(name), predicted)},
        )
        for name, predicted in answers.items()
    ]
    plain, own, others = score_rows(rows)
    assert plain["differences"] == {}
    assert [*own["differences"]] == ["without picture texts", "trained on other posts' texts"]
    f1 = {row["name"]: row["mean"]["test"]["f1"] for row in (plain, own, others)}
    gains = [difference["value"] for difference in own["differences"].values()]
    assert gains == pytest.approx(
        [f1["text-only, llm"] - f1[name] for name in ("text-only", "text-only, shuffled llm")]
    )
    assert [*others["differences"]] == ["without picture texts"]
    assert others["words"][-1] == "text-only, shuffled llm: no controls, as it is one"


def systems_beside(folder: Path, task: str = "re") -> list[dict[str, Any]]:
    """Rows of text-only, hvpnet, mtb, umt and umt with texts."""
    fields = [
        *({"variant": "text-only", "knowledge": None}, {"variant": "hvpnet", "knowledge": None}),
        {"variant": "text-only", "system": "mtb", "knowledge": None},
        *({"variant": "hvpnet", "system": "umt", "knowledge": text} for text in (None, "llm")),
    ]
    answers = [wrong(0, 2, 3), wrong(0, 2), wrong(0), GOLD, GOLD]
    return score_rows(
        [
            Row("own", task, of, {1: run(folder / str(n), answer)})
            for n, (of, answer) in enumerate(zip(fields, answers, strict=True))
        ]
    )


def test_systems_are_compared_with_hvpnets_text_only(tmp_path: Path) -> None:
    text_only, hvpnet, mtb, umt, with_texts = systems_beside(tmp_path)
    assert [row["name"] for row in (mtb, umt, with_texts)] == ["MTB", "UMT", "UMT, llm"]
    assert [*text_only["differences"]] == []
    assert [*hvpnet["differences"]] == [*mtb["differences"]] == ["text-only"]
    assert [*with_texts["differences"]] == ["without picture texts"]
    gain = mtb["mean"]["test"]["f1"] - text_only["mean"]["test"]["f1"]
    assert mtb["differences"]["text-only"]["value"] == pytest.approx(gain)
    [said] = mtb["words"]
    assert said.startswith(f"MTB: over text-only the system adds {gain:+.2f} F1, 95 % interval")
    assert umt["words"][1] == (
        "UMT: no code of it for relations is published: its form here is this project's own"
    )


def cited(*names: str) -> list[dict[str, Any]]:
    figures = {"precision": 1.0, "recall": 2.0, "f1": 3.5}
    return [{"dataset": "own", "system": name, **figures} for name in names]


def test_cited_figures_stand_beside_the_rows_of_systems(tmp_path: Path) -> None:
    rows = systems_beside(tmp_path)
    elsewhere = [{**row, "dataset": "other", "f1": 99.0} for row in cited("MTB")]
    results = {"rows": rows, "cited": [*cited("HVPNeT", "BERT-CRF", "MTB", "UMT"), *elsewhere]}
    head, *lines = text(results)[: 1 + len(rows)]
    assert head.endswith("cited P / R / F1")
    ends = [line.endswith("1.00 / 2.00 / 3.50") for line in lines]
    assert ends == [False, True, True, True, False]  # no text-only for relations, none with texts
    page = measured(rows, results["cited"])
    assert page.count("<td>1.00 / 2.00 / 3.50</td>") == 3
    assert "Cited: the paper's figures" in page.replace("&#x27;", "'")


def test_a_table_of_hvpnet_alone_has_no_cited_column(tmp_path: Path) -> None:
    rows = systems_beside(tmp_path)[:2]
    assert "cited" not in measured(rows, cited("HVPNeT"))
    assert "cited" not in text({"rows": rows, "cited": cited("HVPNeT")})[0]


@pytest.mark.parametrize(
    ("task", "variant", "system", "name"),
    [
        ("re", "text-only", "mtb", "MTB"),
        ("re", "hvpnet", "bert-sg", "BERT+SG"),
        ("ner", "hvpnet", "adapcoatt", "AdapCoAtt-BERT-CRF"),
        ("ner", "text-only", "cnn-bilstm-crf", "CNN-BiLSTM-CRF"),
        ("ner", "hvpnet", "mine", "mine"),
        ("ner", "text-only", "hvpnet", "BERT-CRF"),
        ("re", "text-only", "hvpnet", None),
        ("re", "only-objects", "hvpnet", "HVPNeT-OnlyObj"),
    ],
)
def test_the_papers_names(task: str, variant: str, system: str, name: str | None) -> None:
    assert cited_name(task, variant, system) == name


def test_crops_that_leak_the_answer_are_named(tmp_path: Path) -> None:
    rows = [
        Row("own", "re", {"variant": "hvpnet", "crops": crops}, {1: run(tmp_path / crops, GOLD)})
        for crops in ("entities", "entities-leaked")
    ]
    leaks = [[word for word in row["words"] if "leaks" in word] for row in score_rows(rows)]
    assert [len(words) for words in leaks] == [0, 1]
    assert leaks[1][0].startswith("hvpnet, entities-leaked: its crops show the entities")


def test_settings_of_some_rows_are_told_from_those_of_all(tmp_path: Path) -> None:
    rows = [
        Row("own", "re", fields, {1: run(tmp_path / str(n), GOLD, about=about)})
        for n, (fields, about) in enumerate(
            [
                ({"variant": "text-only"}, {"config": {"epochs": 3}}),
                ({"variant": "flat"}, {"config": {"epochs": 3}, "crops": {"faoa": 5}}),
                ({"variant": "hvpnet"}, {"config": {"epochs": 3}, "crops": {"faoa": 6}}),
            ]
        )
    ]
    text = measured(score_rows(rows))
    assert "epochs 3; regions 5 by faoa (flat); regions 6 by faoa (hvpnet). 30 posts" in text
    assert "epochs 3; regions 5 by faoa. 30 posts" in measured(score_rows(rows[:2]))
    fields = {"variant": "text-only", "system": "mtb", "knowledge": None}
    about = {"config": {"epochs": 10}}
    mtb = Row("own", "re", fields, {1: run(tmp_path / "mtb", GOLD, about=about)})
    three = measured(score_rows([*rows[:2], mtb]))
    assert "epochs 3 (text-only and flat); regions 5 by faoa; epochs 10 (MTB). 30" in three


def test_runs_on_other_posts_are_not_compared(tmp_path: Path) -> None:
    rows = [
        Row("own", "re", {"variant": "text-only"}, {1: run(tmp_path / "a", GOLD)}),
        Row("own", "re", {"variant": "hvpnet"}, {1: run(tmp_path / "b", GOLD, first=1)}),
    ]
    with pytest.raises(DataError, match="expected predictions of the same test posts"):
        score_rows(rows)


@pytest.mark.parametrize(
    ("other", "interval", "said"),
    [
        ("text-only", (0.4, -0.3, 1.1), "x: pictures add +0.40 F1, 95 % interval -0.30 to +1.10: "
         "not shown to help"),
        ("text-only", (-2.0, -3.0, -1.0), "x: pictures add -2.00 F1, 95 % interval -3.00 to "
         "-1.00: shown to harm"),
        ("alone", (1.0, 0.5, 1.5), "x: the first training adds +1.00 F1, 95 % interval +0.50 to "
         "+1.50: shown to help"),
        ("crops spacy", (5.0, 4.0, 6.0), "x: its crops add +5.00 F1, 95 % interval +4.00 to +6.00 "
         "to those by spacy: shown to help"),
        ("shuffled", (9.0, 7.0, 12.0), "x, with another post's pictures: -9.00 F1, 95 % interval "
         "-12.00 to -7.00: it uses its pictures"),
        ("shuffled-text", (9.0, 7.0, 12.0), "x, with another post's picture text: -9.00 F1, 95 % "
         "interval -12.00 to -7.00: it uses its picture texts"),
        ("without picture texts", (3.0, 2.0, 4.0), "x: picture texts add +3.00 F1, 95 % interval "
         "+2.00 to +4.00: shown to help"),
        ("trained on other posts' texts", (3.0, -1.0, 4.0), "x: its own picture texts add +3.00 "
         "F1, 95 % interval -1.00 to +4.00 to training on those of others: not shown to help"),
        ("no-picture", (0.0, -1.0, 2.0), "x, without any picture: +0.00 F1, 95 % interval -2.00 "
         "to +1.00: not shown to use its pictures"),
    ],
    ids=["not-shown", "harm", "alone", "crops", "uses", "uses-texts", "texts", "own", "not-used"],
)  # fmt: skip
def test_a_sentence_says_what_an_interval_shows(
    other: str, interval: tuple[float, float, float], said: str
) -> None:
    assert sentence("x", other, Interval(*interval)) == said


def test_arithmetic_slips_of_the_paper_are_footnotes() -> None:
    noted = {
        (row.system, dataset): footnote(row, dataset) for row in TABLE_1 for dataset in row.scores
    }
    slips = {of for of, note in noted.items() if "its P and R give" in note}
    assert slips == {("HVPNeT-1T3", "mnre"), ("HVPNeT", "mnre")}
    assert "82.19" in noted["HVPNeT", "mnre"]
    assert "79.80" in noted["HVPNeT-1T3", "mnre"]
    assert "retracted" in noted["UMGF", "mnre"]
