"""README and docs say what the code does: tables, links, commands, figures."""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import luigi
import pytest
import typer.main
from luigi.cmdline_parser import CmdlineParser
from luigi.parameter import _no_value

import tasks
from bench.__main__ import AT_LEAST, AT_MOST, RESULTS
from model.systems import OWN
from pipeline.corpus import locate, read
from pipeline.corpus.tasks import OfDataset
from pipeline.description.config import CAPTIONER_WEIGHTS
from pipeline.engine import command_line
from pipeline.extraction.config import extract_preset
from pipeline.grounding.config import VOCABULARY, ground_config
from pipeline.prediction.cli import app
from pipeline.training.config import TrainConfig
from pipeline.training.recipes import COMMON, ELSEWHERE, RECIPES, train_preset
from tests.cli import HOME
from tests.markdown import PAGES, anchors, blocks, commands, inline_commands, links, sections

README, DOCS = HOME / "README.md", HOME / "docs"
KINDS = {
    kind.__name__: kind for kind in (*tasks.STAGES, *tasks.LISTINGS, tasks.Status, tasks.Prune)
}
PROJECT: dict[str, Any] = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
MARK = "*No effect on results*"


def name_of(page: Path) -> str:
    return page.relative_to(HOME).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# --- form


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_readme_leads_to_every_page() -> None:
    assert {(HOME / link.split("#")[0]) for link in links(README)} >= set(PAGES) - {README}


@every_page
def test_links_and_anchors_resolve(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_messages_name_a_section_of_the_readme() -> None:
    """Errors of readers say: see README, section "Data"."""
    assert "Data" in {section.title for section in sections(README)}


@every_page
def test_no_page_names_a_path_of_a_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.~])/(tmp|work|home|root|mnt)/", page.read_text(encoding="utf-8"))


# --- tasks and parameters


@cache
def task_tables() -> dict[str, dict[str, list[str]]]:
    """Task -> option -> the row's default and meaning, as docs/tasks.md has them."""
    tables: dict[str, dict[str, list[str]]] = {}
    for section in sections(DOCS / "tasks.md"):
        rows = {row[0].strip("`"): row[1:] for row in section.rows() if row[0] != "option"}
        tables |= dict.fromkeys(section.title.split(", "), rows) if rows else {}
    return tables


def option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def code(value: object) -> str:
    return f"`{value}`"


@cache
def decided_later() -> dict[tuple[str, str], str]:
    """The default's cell where the parameter's own default is None, and another is taken."""
    detector = ground_config({"grounder": "detector"}, "mnre")
    least = ground_config({"grounder": "salience"}, "mnre").min_score
    cells = {
        ("GroundCrops", "min_score"): f"`{detector.min_score}` for detector, else `{least}`",
        ("GroundCrops", "weights"): f"`{detector.weights}` for detector, else none",
        ("GroundCrops", "vocabulary"): f"`{VOCABULARY}` for faoa, else none",
        ("ExtractPyramid", "precision"): "the machine's",
        ("Recipes", "variant"): "the system's",
        ("DescribePictures", "weights"): f"`{CAPTIONER_WEIGHTS}` for captioner, else none",
    }
    for field in fields(extract_preset("mnre")):
        own, demo = (code(getattr(extract_preset(d), field.name)) for d in ("mnre", "demo"))
        cells.setdefault(
            ("ExtractPyramid", field.name), own if own == demo else f"{own}; demo: {demo}"
        )
    for task in ("TrainRE", "TrainNER"):
        cells |= {(task, f.name): "the recipe's" for f in fields(TrainConfig)}
        cells |= {(task, "style"): code(TrainConfig.style)}
        cells |= {(task, name): "the system's" for name in ("variant", "form")}
        cells[task, "start_from"] = cells[task, "word_vectors"] = "none"
        cells[task, "precision"], cells[task, "train_seed"] = "the machine's", "the run's"
    return cells


def default_cell(task: str, name: str, parameter: luigi.Parameter) -> str:
    value = parameter._default
    if task in ("TrainRE", "TrainNER") and name == "dataset":
        return "`mnre` for TrainRE, `twitter2015` for TrainNER"
    if value is _no_value:
        return "required"
    if value is None:
        return decided_later().get((task, name), "none")
    return "none" if value == () else code(parameter.serialize(value))


def test_every_task_has_its_table() -> None:
    assert task_tables().keys() == KINDS.keys()


@pytest.mark.parametrize("task", KINDS)
def test_a_task_has_the_options_of_its_table(task: str) -> None:
    options = {option(name) for name, _ in KINDS[task].get_params()}
    extra = {"--relation-head"} if task == "TrainNER" else set()  # one table for both trainings
    assert task_tables()[task].keys() == options | extra


def test_no_option_begins_options_of_luigi() -> None:
    """Luigi first parses without knowing the task; it would refuse such an option as ambiguous."""
    for rows in task_tables().values():
        for name in rows:
            CmdlineParser._build_parser(root_task=None).parse_known_args([name, "x"])


@pytest.mark.parametrize("task", KINDS)
def test_defaults_in_the_table_are_the_codes(task: str) -> None:
    table = {name: row[0] for name, row in task_tables()[task].items()}
    parameters = KINDS[task].get_params()
    expected = {option(name): default_cell(task, name, p) for name, p in parameters}
    assert {name: table[name] for name in expected} == expected


def test_the_two_trainings_have_the_data_sets_that_their_table_says() -> None:
    assert KINDS["TrainRE"].dataset._default == OfDataset.dataset._default == "mnre"
    assert KINDS["TrainNER"].dataset._default == "twitter2015"


@pytest.mark.parametrize("task", KINDS)
def test_the_table_names_every_choice(task: str) -> None:
    for name, parameter in KINDS[task].get_params():
        meaning = task_tables()[task][option(name)][1]
        for choice in getattr(parameter, "_choices", getattr(parameter, "words", ())):
            assert re.search(rf"\b{choice}\b", meaning), (name, choice)


@pytest.mark.parametrize("task", KINDS)
def test_the_table_marks_options_without_effect_on_results(task: str) -> None:
    marked = {name for name, row in task_tables()[task].items() if MARK in row[1]}
    parameters = KINDS[task].get_params()
    assert marked == {option(name) for name, p in parameters if not p.significant}


def test_the_table_of_recipes_is_the_codes() -> None:
    [section] = [s for s in sections(DOCS / "training.md") if s.title == "Recipes"]
    table = {row[0].strip("`"): row[1:] for row in section.rows() if row[0] != "option"}
    own = [recipe for recipe in RECIPES if recipe != COMMON]  # common is paper for HVPNeT
    columns = [train_preset(task, "mnre", recipe) for task in ("re", "ner") for recipe in own]
    elsewhere = {*ELSEWHERE, "precision", "finetune_backbone", "relation_head"}
    names = [field.name for field in fields(TrainConfig) if field.name not in elsewhere]
    values = {name: [getattr(column, name) for column in columns] for name in names}
    assert table == {
        option(name): ["as the rest" if value is None else str(value) for value in row]
        for name, row in values.items()
    }


def test_predict_names_every_option_of_hvpnet() -> None:
    text = (DOCS / "predict.md").read_text(encoding="utf-8")
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert any(f"`{name}" in text or f" {name} " in text for name in parameter.opts)


# --- commands


def words_without_placeholders(words: list[str]) -> list[str]:
    return [word for word in words if not word.isupper() and word != "…"]


def check_command(words: list[str]) -> None:
    """Fail unless the program of a command knows its words."""
    program, rest = words[0], words[1:]
    if program == "luigi":
        command_line.check(rest, module="tasks")  # exits unless Luigi can run it
    elif program == "hvpnet":
        command = typer.main.get_command(app).commands[rest[0]]  # type: ignore[attr-defined]
        if len(rest) > 1:
            command.make_context(rest[0], rest[1:])
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (HOME / "Makefile").read_text(), re.MULTILINE)
        assert set(rest) <= set(targets)
    elif program == "pip":
        check_installation(rest)
    elif program == "export":
        assert rest == [f"{OWN}=systems"]
    elif program == "source":
        assert rest == [".venv/bin/activate"]
    else:
        check_python(rest)


def check_installation(words: list[str]) -> None:
    """Extras and files of `pip install …` exist."""
    extras = PROJECT["project"]["optional-dependencies"]
    assert words[0] == "install"
    for word in words:
        assert set(re.findall(r"^\.\[(.+)\]$", word)) <= extras.keys()
        assert not word.endswith(".txt") or (HOME / word).is_file()


def check_python(words: list[str]) -> None:
    """A module exists, bench knows the names of its measures, and code compiles."""
    if words[0] == "-c":
        compile(words[1], "docs", "exec")
        return
    module, arguments = words[1], words_without_placeholders(words[2:])
    assert words[0] == "-m"
    top = module.split(".")[0]
    assert find_spec(module if top in ("bench", "tests") else top)  # others' parts cost seconds
    if module == "bench":
        assert set(arguments) <= {*AT_LEAST, *AT_MOST, "--device", "cuda"}
    for file in arguments if module == "pytest" else ():
        assert (HOME / file).is_file()


ALL = {
    f"{name_of(page)}: {' '.join(words)}": words
    for page in PAGES
    for words in (*commands(page), *inline_commands(page))
}


@pytest.mark.parametrize("command", ALL)
def test_commands_are_known(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gated_picture.py").touch()  # as docs/models.md names its example
    monkeypatch.setenv(OWN, str(tmp_path))
    check_command(ALL[command])


# What needs no download: the demo, lists, and `hvpnet` on the demo's models.
def is_run(words: list[str]) -> bool:
    if words[0] == "luigi":
        return "demo" in words or words[3] in ("Recipes", "Scores")
    return words[0] == "hvpnet" and not any(word in ("MODEL…", "PICTURES") for word in words)


EXPORT = ["hvpnet", "export", "predictions.jsonl", "--to", "label-studio", "-o", "tasks.json"]
TRY = {
    "Centre": "from PIL import Image\n"
    "print(Centre().find([Image.new('RGB', (80, 40))], [('a dog',)])[0][0].box)",
    "CountWords": "import luigi\n"
    "assert luigi.build([CountWords(dataset='demo')], local_scheduler=True)\n"
    "print(CountWords(dataset='demo').output().path)",
}
RUN: dict[str, Any] = {
    " ".join(words): words for page in PAGES for words in commands(page) if is_run(words)
}
RUN[" ".join(EXPORT)] = EXPORT
RUN["docs/predict.md: Python"] = "".join(blocks(DOCS / "predict.md", "python"))
for block in blocks(DOCS / "contributing.md", "python"):
    [kind] = re.findall(r"^class (\w+)", block, re.MULTILINE)
    RUN[kind] = f"{block}\n{TRY[kind]}"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and output of each step, on one store."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.run_docs"],
        input=json.dumps(list(RUN.values())),
        cwd=tmp_path_factory.mktemp("docs"),
        env=os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(RUN, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("step", RUN)
def test_what_needs_no_download_runs(step: str, answers: dict[str, tuple[int, str]]) -> None:
    status, output = answers[step]
    assert status == 0, output


def test_the_example_of_a_grounder_offers_its_box(answers: dict[str, tuple[int, str]]) -> None:
    assert answers["Centre"][1].strip() == "(20.0, 10.0, 60.0, 30.0)"


@pytest.mark.parametrize("page", [README, DOCS / "results.md"], ids=name_of)
def test_tables_of_scores_have_the_columns_that_scores_prints(
    page: Path, answers: dict[str, tuple[int, str]]
) -> None:
    output = answers["luigi --module tasks Scores"][1].splitlines()
    [head] = [line.split() for line in output if line.startswith("run ")]
    starts = [block.splitlines()[0].split() for block in blocks(page, "text")]
    assert head in starts


@pytest.mark.parametrize("page", [README, DOCS / "data.md"], ids=name_of)
def test_examples_of_posts_are_read(page: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    [example] = [block for block in blocks(page, "json") if "relation" in block]
    (tmp_path / "own/posts.jsonl").write_text(example, encoding="utf-8")
    posts = read(locate("own", tmp_path)).posts
    assert [post.relation for post in posts if post.relation] == ["works_for"]
    assert posts[0].tags == ("B-PER", "O", "B-ORG")


# --- figures


def results() -> dict[str, dict[str, Any]]:
    known = {*AT_LEAST, *AT_MOST}
    values: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())
    return {name: value for name, value in values.items() if name in known}


def both(name: str) -> str:
    """The two figures of a measure, as tables have them."""
    return f"{results()[name]['ours']:.4g} : {results()[name]['theirs']:.4g}"


def test_the_table_of_speed_is_that_of_the_results() -> None:
    rows = {row[0].strip("`"): row for row in sections(DOCS / "speed.md")[0].rows()[1:]}
    for name, value in results().items():
        least, most = min(value["runs"]), max(value["runs"])
        assert rows[name][2] == f"{both(name)} {value['unit']}"
        assert rows[name][3] == f"{value['ratio']:.3g} ({least:.3g} to {most:.3g})"
    assert rows.keys() == results().keys()


def test_goals_in_the_table_of_speed_are_the_benchs() -> None:
    goals = {name: f"≥ {n:g}" for name, n in AT_LEAST.items()}
    goals |= {name: f"≤ {n:g}" for name, n in AT_MOST.items()}
    rows = sections(DOCS / "speed.md")[0].rows()[1:]
    assert {row[0].strip("`"): row[4] for row in rows}.items() <= goals.items()


def test_figures_of_speed_in_the_readme_are_those_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert f"{both('train_fp32')} in float32, {both('train_bf16')} in bfloat16" in text
    rows = [f"{results()[name]['ours']:.4g}" for name in ("extract", "extract_fp32")]
    assert f"{rows[0]} in bfloat16, {rows[1]} in float32" in text


@every_page
def test_figures_of_speed_name_their_file(page: Path) -> None:
    for section in sections(page):
        if re.search(r"\d (posts|rows|pictures)/s|\d jobs/h", section.text):
            assert "bench/results.json" in section.text, section.title


@every_page
def test_figures_of_scores_name_their_command(page: Path) -> None:
    source = r"luigi --module tasks \w|python -m \w|make demo|(Cited f|^F)rom the paper"
    for section in sections(page):
        if "F1" in section.text and re.search(r"\b\d{2,3}\.\d\d\b", section.text):
            assert re.search(source, " ".join(section.text.split())), section.title


# --- files beside the documents


def test_constraints_name_every_package_of_the_project() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    needed = {re.split(r"[>=]", need)[0] for need in sum(extras, project["dependencies"])}
    lines = (HOME / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert needed <= pinned.keys()
    assert all(re.fullmatch(r"[\w.]+", version) for version in pinned.values())


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (HOME / "CITATION.cff").read_text(encoding="utf-8")
    titles = [section.title for section in sections(HOME / "CHANGELOG.md")]
    assert titles.index("Unreleased") < titles.index(version)
