"""Test the command `hvpnet`: its output, its files, and its one-line errors."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.prediction import cli
from tests.cli import HOME
from tests.pipeline.prediction.trained import Trained

Run = Callable[..., tuple[int, str, str]]
COMMAND = "import sys; sys.argv[0] = 'hvpnet'; import hvpnet; hvpnet.main()"


@pytest.fixture
def hvpnet(capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process. Returns its exit code, standard output, standard error."""
    kept = {name: vars(logging.getLogger(name)).copy() for name in cli.OURS}

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run([str(one) for one in arguments])
        return int(ended.value.code or 0), *capfd.readouterr()

    yield run
    for name, state in kept.items():
        vars(logging.getLogger(name)).update(state)


def sentence(runs: Trained) -> str:
    return " ".join(runs.posts[0].tokens)


def written(folder: Path, *records: dict[str, Any]) -> Path:
    file = folder / "posts.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    return file


# --- one post


def test_a_post_is_a_table(hvpnet: Run, runs: Trained, reads: Path, relates: Path) -> None:
    code, out, err = hvpnet("predict", reads, relates, "--text", sentence(runs))
    assert (code, err) == (0, "")
    assert out.startswith(sentence(runs))
    assert "score" in out
    assert "picture: none" in out


def test_a_post_is_a_record(hvpnet: Run, runs: Trained, reads: Path) -> None:
    code, out, _ = hvpnet("predict", reads, "--text", sentence(runs), "--json")
    assert code == 0
    record = json.loads(out)
    assert record["text"] == sentence(runs)
    assert record["entities"]


def test_a_post_with_its_picture_explained(hvpnet: Run, runs: Trained, looks: Path) -> None:
    picture = runs.root / str(runs.posts[0].picture)
    options = ("--text", sentence(runs), "--picture", picture, "--explain")
    _, out, _ = hvpnet("predict", looks, *options)
    assert "picture: used" in out
    assert "region 1" in out
    assert "attention to regions, entities" in out
    _, out, _ = hvpnet("predict", looks, *options, "--json")
    record = json.loads(out)
    assert record["picture_status"] == "used"
    assert record["picture"] == str(picture)
    assert record["explanation"]["entities"]["regions"][0] == "picture"


def test_least_scores(hvpnet: Run, runs: Trained, reads: Path) -> None:
    _, out, _ = hvpnet("predict", reads, "--text", sentence(runs), "--json", "--min-score", 1)
    assert json.loads(out)["entities"] == []


def test_a_table_holds_nothing_that_controls_the_terminal(hvpnet: Run, reads: Path) -> None:
    _, out, _ = hvpnet("predict", reads, "--text", "a \x1b[31mred\x07 🎉 [bold]b[/bold]")
    assert out.splitlines()[0] == "a \ufffd[31mred\ufffd 🎉 [bold]b[/bold]"


# --- files


def test_a_file_becomes_a_file_and_a_page(
    hvpnet: Run, runs: Trained, looks: Path, tmp_path: Path
) -> None:
    picture = str(runs.root / str(runs.posts[0].picture))
    records = [{"id": "<1>", "tokens": list(runs.posts[0].tokens), "picture": picture}]
    posts = written(tmp_path, *records, {"text": 5})
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    options = ("--explain", "--html", page, "--batch-size", 1)
    code, printed, logged = hvpnet("predict", looks, posts, "-o", out, *options)
    assert (code, printed) == (0, "")
    assert "line 2: expected text to be a string" in logged
    assert "2 posts, 1 could not be read" in logged
    first, bad = (json.loads(line) for line in out.read_text().splitlines())
    assert first["picture_status"] == "used"
    assert first["id"] == "<1>"
    assert "line 2" in bad["error"]
    html = page.read_text()
    assert "&lt;1&gt;" in html
    assert "data:image/jpeg" in html
    assert "attention to regions" in html
    assert html.count("<article>") == 2


def test_standard_output_has_records_alone(
    hvpnet: Run, runs: Trained, reads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(json.dumps({"text": f"{sentence(runs)} 🎉 {n}"}) + "\n" for n in range(3))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[]\n" + lines.encode())))
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    page = tmp_path / "page.html"
    code, _, logged = hvpnet("predict", reads, "-", "--html", page)
    assert code == 0, logged
    bad, *records = map(json.loads, written.getvalue().decode("utf-8").splitlines())
    assert "standard input, line 1" in bad["error"]
    assert [one["text"][-3:] for one in records] == ["🎉 0", "🎉 1", "🎉 2"]
    assert "4 posts, 1 could not be read" in logged
    assert "🎉 2" in page.read_text(encoding="utf-8")


def test_a_reader_that_ends_early(reads: Path, tmp_path: Path) -> None:
    posts = written(tmp_path, *({"text": "a " * 200} for _ in range(1000)))
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "predict",
        str(reads),
        str(posts),
        "--batch-size",
        "1",
    ]
    env = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as one:
        assert one.stdout is not None
        assert one.stderr is not None
        assert json.loads(one.stdout.readline())
        one.stdout.close()
        assert one.stderr.read() == b""
    assert one.returncode == 1


def test_strict_ends_at_a_bad_line(hvpnet: Run, reads: Path, tmp_path: Path) -> None:
    posts = written(tmp_path, {"text": "a"}, {"text": 5})
    options = ("-o", tmp_path / "out.jsonl", "--batch-size", 1)
    code, _, err = hvpnet("predict", reads, posts, "--strict", *options)
    assert code == 1
    assert err.startswith(f"hvpnet: {posts}, line 2: expected text to be a string")
    written(tmp_path, {"text": "a"}, {"text": "b"})
    code, _, err = hvpnet("predict", reads, posts, "--strict", *options)
    assert code == 0
    assert "resuming after 1 posts" in err


def test_other_models_and_options_do_not_go_on(
    hvpnet: Run, runs: Trained, reads: Path, tmp_path: Path
) -> None:
    posts = written(tmp_path, {"text": "a"}, {"text": 5})
    options = ("-o", tmp_path / "out.jsonl", "--batch-size", 1)
    hvpnet("predict", reads, posts, "--strict", *options)
    code, _, err = hvpnet("predict", reads, posts, "--min-score", 0.5, *options)
    assert code == 1
    assert "with another options; remove it" in err
    other = runs.root / "other"
    if not other.exists():
        runs.run("other", "ner", variant="text-only", seed=2)
    code, _, err = hvpnet("predict", other, posts, *options)
    assert code == 1
    assert "with another models; remove it" in err


# --- packing and handing on


def test_a_run_is_packed_and_checked(
    hvpnet: Run, reads: Path, relates: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, printed, err = hvpnet("pack", relates, out)
    assert (code, err) == (0, "")
    assert printed.splitlines()[1:] == ["relations: text only, float32"]
    assert hvpnet("pack", "--check", out)[1] == printed
    assert hvpnet("predict", out, reads, "--text", "a")[0] == 0  # another model beside it
    (out / "relations/config.json").write_text("{}")
    message = refused(hvpnet, "pack", "--check", out)
    assert message == f"hvpnet: {out}: altered: relations/config.json; copy the folder again\n"


def test_predictions_are_handed_on(hvpnet: Run, runs: Trained, reads: Path, tmp_path: Path) -> None:
    posts = written(tmp_path, {"text": sentence(runs)}, {"text": 5})
    out, tasks = tmp_path / "out.jsonl", tmp_path / "tasks.json"
    hvpnet("predict", reads, posts, "-o", out)
    code, printed, logged = hvpnet("export", out, "--to", "label-studio", "-o", tasks)
    assert code == 0
    assert printed.startswith("<View>")
    assert "1 posts" in logged
    assert json.loads(tasks.read_text())[0]["data"]["text"] == sentence(runs)
    assert hvpnet("export", out, "--to", "doccano", "-o", tasks)[1] == ""
    assert "also reads or writes" in refused(hvpnet, "export", out, "-o", out)


# --- errors in one line


def refused(run: Run, *arguments: object) -> str:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("hvpnet: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("", "expected a file to write, found a folder"),
        ("no/out.jsonl", "expected its folder to exist, found none"),
        ("posts.jsonl", "expected a separate file, found one that this command"),
        ("link.jsonl", "expected a separate file, found one that this command"),
        ("pipe", "expected a file to write, found a device or pipe"),
    ],
)
def test_outputs_that_cannot_be(
    hvpnet: Run, reads: Path, tmp_path: Path, out: str, message: str
) -> None:
    posts = written(tmp_path, {"text": "a"})
    (tmp_path / "link.jsonl").symlink_to(posts)
    os.mkfifo(tmp_path / "pipe")
    for option in ("-o", "--html"):
        assert message in refused(hvpnet, "predict", reads, posts, option, tmp_path / out)
    assert posts.read_text() == '{"text": "a"}\n'


def test_no_models(hvpnet: Run, reads: Path, looks: Path, tmp_path: Path) -> None:
    folders: dict[str, dict[str, Any]] = {
        "summary": {"metrics.json": {"runs": {"1": {}, "49": {}}, "config": {}}},
        "evaluation": {"metrics.json": {"labelled": {}}},
        "grounding": {"report.json": {}},
        "empty": {},
        "bert": {"config.json": {"model_type": "bert"}},
    }
    for name, files in folders.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(json.dumps(content))
    messages = {
        tmp_path / "summary": "found a summary over seeds (1, 49); name one of the runs",
        tmp_path / "evaluation": "found an evaluation; name the model that it evaluated",
        tmp_path / "grounding": "expected a run of TrainNER or TrainRE",
        tmp_path / "empty": "expected a run of TrainNER or TrainRE",
        tmp_path / "bert": "expected a model of TrainNER, TrainRE or ImportReleased",
        tmp_path / "none": "expected a model's folder or a file, found nothing",
        reads.parent: f"found a folder of several; name one, such as {looks}",
    }
    for folder, message in messages.items():
        assert message in refused(hvpnet, "predict", folder, "--text", "a")


def test_damaged_runs(hvpnet: Run, reads: Path, tmp_path: Path) -> None:
    for name, content in (("config.json", "{"), ("config.json", "[]")):
        (tmp_path / name).write_text(content)
        assert f"{tmp_path / name}: " in refused(hvpnet, "predict", tmp_path, "--text", "a")


def test_two_models_of_a_kind(hvpnet: Run, reads: Path, looks: Path) -> None:
    assert "two for one task" in refused(hvpnet, "predict", reads, looks, "--text", "a")


def test_only_relations_without_entities(hvpnet: Run, relates: Path) -> None:
    message = refused(hvpnet, "predict", relates, "--text", "a")
    assert "expected entities, or head and tail" in message


def test_scores_out_of_range(hvpnet: Run, reads: Path) -> None:
    for value in ("2", "nan", "-1"):
        message = refused(hvpnet, "predict", reads, "--text", "a", "--min-score", value)
        assert "min_score: expected 0 to 1, found" in message
    message = refused(hvpnet, "predict", reads, "--text", "a", "--batch-size", 0)
    assert "batch_size: expected 1 or more, found 0" in message


def test_a_text_that_is_not_utf_8(hvpnet: Run, reads: Path) -> None:
    text = os.fsdecode(b"\xff")
    assert "expected text to be a string" in refused(hvpnet, "predict", reads, "--text", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "Missing argument"),
        (["predict", "{posts}"], "expected the folder of a model, found none"),
        (["predict", "{model}"], "found neither"),
        (["predict", "{model}", "{posts}", "--text", "a"], "found both"),
        (["predict", "{model}", "{posts}", "{posts}"], "expected one file of records, found"),
        (["predict", "{model}", "{posts}", "-"], "expected one file of records, found"),
        (["predict", "{model}", "{posts}", "--picture", "x"], "--picture goes with --text"),
        (["predict", "{model}", "--text", "a", "--device", "tpu"], "--device"),
        (["predict", "{model}", "--text", "a", "--nonsense"], "No such option"),
        (["pack", "{model}"], "expected one or two runs, then the folder to write"),
        (["pack", "--check", "{model}", "{model}"], "expected only the packed folder"),
        (["export", "{posts}"], "Missing option"),
        (["nonsense"], "No such command"),
    ],
)
def test_usage(
    hvpnet: Run, reads: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    names = {"model": reads, "posts": written(tmp_path, {"text": "a"})}
    code, out, err = hvpnet(*(one.format(**names) for one in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_an_interrupt_is_one_line(
    hvpnet: Run, reads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.prediction.extractor import Extractor

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Extractor, "load", interrupt)
    code, _, err = hvpnet("predict", reads, "--text", "a")
    assert (code, err) == (130, "hvpnet: interrupted\n")


# --- help, and other packages of our names

HEAVY = {"torch", "transformers", "torchvision", "numpy", "luigi", "spacy", "h5py"}
LOOK = f"""
import sys
sys.argv = ["hvpnet", "--help"]
import hvpnet
try:
    hvpnet.main()
except SystemExit as end:
    print(end.code, sorted({HEAVY} & set(sys.modules)))
"""


def python(code: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    # -c looks in the present folder first, as an interactive session does.
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(HOME)} | env,
        capture_output=True,
        text=True,
    )


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    done = python(LOOK, tmp_path)
    assert "predict" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize("name", ["model/__init__.py", "pipeline.py", "features/__init__.py"])
def test_another_package_of_our_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    own = HOME / name.split("/")[0].removesuffix(".py")
    message = f"expected the package {own.name} in {own}, found {tmp_path / name}"
    done = python("import hvpnet", tmp_path)
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {message}")
    done = python(COMMAND, tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"hvpnet: {message}")


def test_a_folder_of_our_name_that_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert python("import hvpnet", tmp_path).returncode == 0
