"""Experiments through the command line: what is trained, what is used again, what the page says."""

import csv
import json
import shutil
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.training.score import relation_scores
from tests.cli import outputs
from tests.world import EXTRACT, World, make_world

SETTINGS = (
    *("--TrainRE-encoder", "scratch", "--TrainRE-epochs", "2", "--TrainRE-evaluate-from", "1"),
    *("--TrainRE-learning-rate", "2e-3", "--TrainRE-head-learning-rate", "5e-3"),
    *("--TrainNER-encoder", "scratch", "--TrainNER-epochs", "1"),
    *EXTRACT,
)
BOTH_VARIANTS = ("--variants", "text-only,hvpnet")


def experiment(world: World, task: str, *options: str) -> tuple[Path, str]:
    """Run an experiment on `own` that must succeed. Returns its folder, and what was logged."""
    done = world.run(task, "--datasets", "own", *SETTINGS, *options)
    assert done.returncode == 0, done.stderr
    return outputs(world.store, task)[-1], done.stderr


def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("experiments"))


RELATIONS = ("Table1", "--tasks", "re", *BOTH_VARIANTS)


@pytest.fixture(scope="module")
def first(world: World) -> Path:
    """The table of one seed."""
    return experiment(world, *RELATIONS, "--seeds", "1")[0]


@pytest.fixture(scope="module")
def both(world: World, first: Path) -> tuple[Path, str]:
    """The table of two seeds, made after that of the first alone, and what was logged."""
    return experiment(world, *RELATIONS, "--seeds", "1,2")


@pytest.fixture(scope="module")
def table(both: tuple[Path, str]) -> Path:
    return both[0]


def test_a_row_has_the_scores_of_its_runs_redone_from_their_predictions(
    world: World, table: Path
) -> None:
    rows = {row["name"]: row for row in results(table)["rows"]}
    assert rows.keys() == {"text-only", "hvpnet"}
    for row in rows.values():
        scores: dict[str, list[float]] = {"precision": [], "recall": [], "f1": []}
        for seed in ("1", "2"):
            run = world.store / row["seeds"][seed]["run"]
            found = map(json.loads, (run / "predictions.jsonl").read_text().splitlines())
            lines = [line for line in found if line["split"] == "test"]
            redone = relation_scores(
                [line["relation"] for line in lines], [line["predicted_relation"] for line in lines]
            )
            for name, values in scores.items():
                assert row["seeds"][seed]["test"][name] == pytest.approx(redone[name])
                values.append(redone[name])
        for name, values in scores.items():
            assert row["mean"]["test"][name] == pytest.approx(statistics.fmean(values))
            assert row["deviation"]["test"][name] == pytest.approx(statistics.stdev(values))
        assert row["interval"]["low"] <= row["interval"]["value"] <= row["interval"]["high"]


def test_controls_stand_beside_the_scores_with_pictures(world: World, table: Path) -> None:
    text_only, hvpnet = results(table)["rows"]
    assert text_only["controls"] == {}
    assert text_only["words"] == []
    made = [json.loads((f / "metrics.json").read_text()) for f in outputs(world.store, "Controls")]
    for control in ("shuffled", "no-picture"):
        f1 = statistics.fmean(metrics[control]["f1"] for metrics in made)
        assert hvpnet["controls"][control]["mean"]["f1"] == pytest.approx(f1)
        lost = hvpnet["mean"]["test"]["f1"] - f1
        assert hvpnet["differences"][control]["value"] == pytest.approx(lost)
    gain = hvpnet["mean"]["test"]["f1"] - text_only["mean"]["test"]["f1"]
    assert hvpnet["differences"]["text-only"]["value"] == pytest.approx(gain)
    assert len(hvpnet["words"]) == 3
    assert hvpnet["words"][0].startswith(f"hvpnet: pictures add {gain:+.2f} F1, 95 % interval ")


def test_the_csv_has_each_seed(table: Path) -> None:
    with (table / "table1.csv").open() as file:
        lines = [*csv.DictReader(file)]
    row = results(table)["rows"][1]
    [line] = [
        line
        for line in lines
        if (line["system"], line["seed"], line["split"]) == ("hvpnet", "2", "test")
    ]
    assert float(line["f1"]) == row["seeds"]["2"]["test"]["f1"]
    assert {line["source"] for line in lines} == {"measured"}  # nothing is cited of own data


def test_what_was_trained_before_is_used(world: World, first: Path, both: tuple[Path, str]) -> None:
    made, said = both
    assert made != first
    assert said.count("making TrainRE") == 2  # seed 2 of each variant
    assert said.count("making Controls") == 1
    again, said = experiment(world, *RELATIONS, "--seeds", "1,2")
    assert again == made
    assert "making" not in said


def test_a_system_is_a_row_beside_the_variants(world: World, table: Path) -> None:
    options = ("--tasks", "re", "--seeds", "1", "--variants", "text-only", "--systems", "mtb")
    folder, said = experiment(world, "Table1", *options)
    text_only, mtb = results(folder)["rows"]
    assert text_only["seeds"]["1"] == results(table)["rows"][0]["seeds"]["1"]
    run = world.store / mtb["seeds"]["1"]["run"]
    assert json.loads((run / "metrics.json").read_text())["config"]["system"] == "mtb"
    assert "MTB: over text-only the system adds" in said
    [line] = [line for line in world.printed("Scores").splitlines() if str(run) in line]
    assert line.split()[1] == "mtb"


def test_a_curve_has_a_point_for_each_share(world: World, table: Path) -> None:
    options = ("--tasks", "re", "--seeds", "1", "--shares", "25,50", "--variants", "hvpnet")
    folder, _ = experiment(world, "LowResource", *options)
    rows = results(folder)["rows"]
    assert [row["name"] for row in rows] == ["hvpnet, 25 %", "hvpnet, 50 %"]
    for row in rows:
        metrics = json.loads((world.store / row["seeds"]["1"]["run"] / "metrics.json").read_text())
        assert metrics["config"]["train_share"] == float(row["fields"]["share"][:2]) / 100
        assert metrics["posts"]["train"] == 24 * float(row["fields"]["share"][:2]) / 100
        assert [*row["differences"]] == ["shuffled", "no-picture"]
    assert "<svg" in (folder / "low-resource-own-re.svg").read_text()


def test_training_is_started_from_a_run_on_the_other_task(world: World, table: Path) -> None:
    folder, _ = experiment(world, "CrossTask", "--seeds", "1", "--variants", "hvpnet")
    found = results(folder)
    rows = {(row["task"], row["fields"]["source"]): row for row in found["rows"]}
    assert rows.keys() == {
        *(("re", None), ("ner", None), ("re", "not started"), ("ner", "not started")),
        *(("re", "from own (ner)"), ("ner", "from own (re)")),
    }
    for (task, source), row in rows.items():
        metrics = json.loads((world.store / row["seeds"]["1"]["run"] / "metrics.json").read_text())
        started = source not in (None, "not started")
        assert (metrics["config"]["start_from"] is not None) == started
        if started:
            alone = rows[task, "not started"]
            same = json.loads(
                (world.store / alone["seeds"]["1"]["run"] / "metrics.json").read_text()
            )
            left_out = {"start_from", "encoder"}
            assert {k: v for k, v in same["config"].items() if k not in left_out} == {
                k: v for k, v in metrics["config"].items() if k not in left_out
            }
            gain = row["mean"]["test"]["f1"] - alone["mean"]["test"]["f1"]
            assert row["differences"]["alone"]["value"] == pytest.approx(gain)
    assert rows["re", None]["seeds"]["1"] == results(table)["rows"][1]["seeds"]["1"]


class Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "data") if tag in ("img", "script", "object") else ("href",)
        values = [value for name, value in attrs if name in names and tag != "a"]
        self.loaded += [value for value in values if value and not value.startswith(("#", "data:"))]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_has_all_that_is_there(world: World, first: Path, table: Path) -> None:
    experiment(world, "Gates", "--tasks", "re", "--seeds", "1", "--most", "2")
    experiment(world, "Cases", "--tasks", "re", "--seeds", "1", "--most", "2", *BOTH_VARIANTS)
    (first / "results.json").write_text("{")
    said = world.printed("Report", "--datasets", "own", "--name", "all")
    folder = world.store / "Report/all"
    assert said == f"open in a browser: {folder / 'report.html'}\n"
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.loaded == []
    words = " ".join(page.words)
    for title in ("Table 1: own, relations", "Gates", "Cases", "All runs: own, relations"):
        assert title in words
    assert f"Table1/{first.name}: damaged" in words
    row = results(table)["rows"][1]
    assert f"{row['mean']['test']['f1']:.2f} ± {row['deviation']['test']['f1']:.2f}" in words
    assert (folder / f"Table1/{table.name}/table1.csv").exists()
    with (folder / "runs.csv").open() as file:
        runs = [*csv.DictReader(file)]
    trained = [run for task in ("TrainRE", "TrainNER") for run in outputs(world.store, task)]
    assert len(runs) == 2 * len(trained)  # val and test of each
    assert "<svg" in text


def test_prune_keeps_the_runs_that_a_table_was_made_of(world: World, table: Path) -> None:
    named = {
        world.store / r["run"] for row in results(table)["rows"] for r in row["seeds"].values()
    }
    run = next(iter(named))
    other = run.with_name(f"own-{'0' * 16}")
    shutil.copytree(run, other)
    manifest = (other / "manifest.json").read_text().replace(run.name[-16:], "0" * 16)
    (other / "manifest.json").write_text(manifest)
    said = world.printed("Prune", "--runs", *SETTINGS)
    assert f"TrainRE/{other.name}  " in said
    assert not other.exists()
    assert table.exists()
    assert all(run.exists() for run in named)
    assert not [line for line in said.splitlines() if line.startswith(("Table1", "Controls"))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("Table1", "--variants", "hvpnt"), "--variants: expected some of hvpnet, "),
        (("Table1", "--seeds", "1,x"), "--seeds: expected numbers such as 1,49,1234, found '1,x'"),
        (("Table1", "--tasks", "rel"), "--tasks: expected some of re, ner, found 'rel'"),
        (("LowResource", "--shares", "0"), "--shares: expected percent such as 5,20,50, found"),
        (("LowResource", "--shares", "5,x"), "--shares: expected percent such as 5,20,50, found"),
        (("Table1", "--styles", "released", "--variants", "flat"), "--variants: expected some"),
        (("Cases", "--styles", "paper,released"), "--styles: expected one style, found"),
        (("Gates", "--variants", "flat"), "--variants: expected some with a gate"),
        (("CrossTask", "--tasks", "re"), "--datasets: expected two data sets, or one with both"),
        (("Gates", "--posts", "a", "--datasets", "own,demo"), "--posts: expected one data set"),
        (("Gates", "--posts", "demo-40", "--tasks", "re"), "found 'demo-40'; did you mean demo-4"),
        (("Table1", "--TrainRE-style", "released"), "--TrainRE-style: expected no value, here or"),
        (("LowResource", "--TrainRE-train-share", "1"), "LowResource chooses it; use --shares"),
        (("Cases", "--TrainNER-seed", "2"), "as Cases chooses it; use --seeds"),
        (("CrossTask", "--TrainNER-start-from", "x"), "as CrossTask chooses it; remove it"),
        (("Table1", "--systems", "mbt"), "--systems: expected some of all, hvpnet, adapcoatt, "),
        (("Table1", "--systems", "mtb", "--tasks", "ner"), "found mtb, made for relations; choose"),
        (("Table1", "--crops", "types", "--tasks", "re"), "--crops: expected a grounder that"),
        (("Report", "--datasets", "nothing"), "expected runs or experiments on nothing, found"),
        (("Report", "--name", "a/b"), "--name: expected the plain name of a folder, found"),
    ],
    ids=lambda value: value[0] + value[1] if isinstance(value, tuple) else "",
)
def test_wrong_options_are_one_line(world: World, options: tuple[str, ...], message: str) -> None:
    given = () if "--datasets" in options else ("--datasets", "own")
    done = world.run(options[0], *given, *options[1:])
    assert done.returncode not in (0, 1)
    assert message in done.stderr.splitlines()[-1]


def test_texts_are_rows_with_the_same_training_without_and_on_others(world: World) -> None:
    posts = [*map(json.loads, (world.data / "own/posts.jsonl").read_text().splitlines())]
    texts = world.data / "own.told.jsonl"
    lines = ({"picture": post["picture"], "text": f"tells {post['relation']}"} for post in posts)
    texts.write_text("".join(json.dumps(line) + "\n" for line in lines if line["picture"]))
    named = str(texts).replace("/own.", "/{dataset}.")
    folder, said = experiment(
        world,
        *("Table1", "--tasks", "re", "--seeds", "1", "--variants", "text-only"),
        *("--knowledge", f"none,{named},shuffled:{named}"),
    )
    rows = {row["name"]: row for row in results(folder)["rows"]}
    assert [*rows] == ["text-only", "text-only, told", "text-only, shuffled told"]
    told = rows["text-only, told"]
    assert [*told["controls"]] == ["shuffled-text", "no-text"]
    assert {"without picture texts", "trained on other posts' texts"} <= told["differences"].keys()
    assert rows["text-only, shuffled told"]["controls"] == {}
    for name, row in rows.items():
        run = world.store / row["seeds"]["1"]["run"]
        config = json.loads((run / "metrics.json").read_text())["config"]
        assert config["knowledge"] == (name != "text-only")
        assert config["shuffle_knowledge"] == ("shuffled" in name)
    assert "F1 shuffled-text" in said
