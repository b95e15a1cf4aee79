"""Other systems than HVPNeT through the command line: trained, saved, evaluated, predicted with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import tasks
from pipeline.corpus.labels import entities_of
from pipeline.engine.files import read_json
from pipeline.errors import DataError, SettingError
from pipeline.prediction.extractor import Extractor
from pipeline.training.config import LEAST_TEXT
from pipeline.training.recipes import COMMON, train_config, train_preset
from pipeline.training.saved import SavedModel
from tests.model.test_systems import write_system
from tests.pipeline.prediction.trained import in_words, label_of
from tests.world import EXTRACT, World, make_world

SCRATCH = ("--encoder", "scratch", "--epochs", "1", "--warmup", "0.1", "--learning-rate", "2e-3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("systems"), posts=(12, 4, 4))


@pytest.fixture(scope="module")
def mtb(world: World) -> Path:
    return world.result("TrainRE", "--system", "mtb", *SCRATCH)


def test_a_run_records_its_system(mtb: Path) -> None:
    config = read_json(mtb / "metrics.json")["config"]
    assert (config["system"], config["variant"]) == ("mtb", "text-only")
    assert (config["optimizer"], config["dropout"]) == ("adamw-uncorrected", 0.5)
    assert read_json(mtb / "model/config.json")["system"] == "mtb"
    key = read_json(mtb / "manifest.json")["key"]
    assert "system" in key["sources"]  # by the content of its file


def test_status_tells_of_picture_texts_where_they_are_read(world: World, mtb: Path) -> None:
    assert "DescribePictures" not in world.status()
    assert world.status("--TrainRE-knowledge")["DescribePictures"].startswith("stale")


def test_no_picture_was_read(world: World, mtb: Path) -> None:
    assert not (world.store / "ExtractPyramid").exists()


def test_a_saved_system_predicts_what_it_predicted(world: World, mtb: Path) -> None:
    lines = [*map(json.loads, (mtb / "predictions.jsonl").read_text().splitlines())]
    records = [{name: line[name] for name in ("tokens", "head", "tail")} for line in lines]
    predictions = Extractor.load(mtb).predict(records, strict=True)
    assert [label_of(one) for one in predictions] == [line["predicted_relation"] for line in lines]
    again = world.result("Evaluate", "--model", str(mtb))
    found = map(json.loads, (again / "predictions.jsonl").read_text().splitlines())
    assert [line["predicted_relation"] for line in found] == [
        line["predicted_relation"] for line in lines
    ]


@pytest.mark.parametrize(
    ("task", "system"), [("NER", "umt"), ("RE", "umt"), ("NER", "mega"), ("RE", "mega")]
)
def test_a_system_with_pictures_is_trained_saved_evaluated_and_predicts(
    world: World, task: str, system: str
) -> None:
    longer = ("--epochs", "3", "--batch-size", "2")  # until it tells words apart
    run = world.result(f"Train{task}", "--system", system, *SCRATCH, *longer, *EXTRACT)
    lines = [*map(json.loads, (run / "predictions.jsonl").read_text().splitlines())]
    again = world.result("Evaluate", "--model", str(run), *EXTRACT)
    evaluated = [*map(json.loads, (again / "predictions.jsonl").read_text().splitlines())]
    answer = "predicted_tags" if task == "NER" else "predicted_relation"
    assert [line[answer] for line in evaluated] == [line[answer] for line in lines]
    given = ("tokens", "head", "tail")
    records = [
        {name: line[name] for name in given if name in line}
        | {"picture": str(world.data / line["picture"])}
        for line in lines
    ]
    predictions = Extractor.load(run).predict(records, strict=True)
    if task == "NER":
        assert [*map(in_words, predictions)] == [entities_of(line[answer]) for line in lines]
    else:
        assert [*map(label_of, predictions)] == [line[answer] for line in lines]


def test_a_model_of_an_unknown_system_is_refused(mtb: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(mtb / "model", tmp_path / "model"))
    config = read_json(model / "config.json") | {"system": "../mine"}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        DataError, match=r"systems hvpnet, .*, found one of '\.\./mine'; set HVPNET_SYSTEMS"
    ):
        SavedModel.open(model)


def test_the_printed_recipes_are_the_systems_own(world: World) -> None:
    printed = world.printed("Recipes", "--system", "mtb")
    assert "TrainNER" not in printed
    [line] = [line for line in printed.splitlines() if line.startswith("--optimizer")]
    assert line.split()[1] == "adamw-uncorrected"
    assert line.split()[-1] == "adamw"  # the common recipe


@pytest.mark.parametrize(
    ("system", "task", "expected"),
    [  # epochs, batch, rate, decay, optimizer, momentum, schedule, warm-up, clipping, dropout
        ("umt", "ner", (24, 32, 5e-5, 0.01, "bert-adam", 0, "linear", 0.1, 0, 0.1)),
        ("bert-sg", "re", (10, 32, 2e-5, 0.01, "adamw-uncorrected", 0, "linear", 300, 0, 0.5)),
        ("umt", "re", (12, 32, 5e-5, 0.01, "bert-adam", 0, "linear", 0.1, 0, 0.1)),
        ("adapcoatt", "ner", (24, 32, 5e-5, 0.01, "bert-adam", 0, "linear", 0.1, 0, 0.1)),
        ("visualbert", "ner", (20, 32, 5e-5, 0.01, "adamw", 0, "linear", 0, 1, 0.1)),
        ("visualbert", "re", (12, 32, 5e-5, 0.01, "adamw", 0, "linear", 0, 1, 0.1)),
        ("umgf", "ner", (30, 16, 1e-4, 0, "adam", 0, "step", 0, 0, 0)),
        ("umgf", "re", (30, 16, 3e-5, 0, "adam", 0, "step", 0, 0, 0.1)),
        ("mega", "re", (10, 32, 2e-5, 0.01, "adamw-uncorrected", 0, "linear", 300, 0, 0.5)),
        ("mega", "ner", (10, 32, 2e-5, 0.01, "adamw-uncorrected", 0, "linear", 300, 0, 0.5)),
        ("cnn-bilstm-crf", "ner", (50, 10, 0.015, 0, "sgd", 0.9, "inverse", 0, 5, 0.5)),
        ("hbilstm-crf", "ner", (100, 1, 0.01, 0, "sgd", 0, "none", 0, 5, 0.5)),
        ("pcnn", "re", (100, 160, 0.1, 1e-5, "sgd", 0, "linear", 300, 0, 0.5)),
        ("ocsga", "ner", (200, 10, 0.05, 1e-8, "sgd", 0, "inverse", 0, 0, 0.5)),
    ],
)
def test_published_settings(system: str, task: str, expected: tuple[object, ...]) -> None:
    c = train_preset(task, "own", system=system)
    assert expected == (
        *(c.epochs, c.batch_size, c.learning_rate, c.weight_decay, c.optimizer, c.momentum),
        *(c.rate_schedule, c.warmup, c.max_grad_norm, c.dropout),
    )
    assert (c.evaluate_from, c.max_tokens) == (1, 128)
    assert c.head_learning_rate == (1e-4 if (system, task) == ("umgf", "re") else None)
    assert c.decay_all == (system in ("ocsga", "pcnn"))
    common = train_preset(task, "own", COMMON)
    assert train_preset(task, "own", COMMON, system=system) == replace(common, system=system)


@pytest.mark.parametrize("system", ["umt", "adapcoatt"])
def test_umt_has_fewer_epochs_on_twitter2017(system: str) -> None:
    epochs = {
        name: train_preset("ner", name, system=system).epochs
        for name in ("twitter2015", "twitter2017")
    }
    assert epochs == {"twitter2015": 24, "twitter2017": 22}


@pytest.mark.parametrize(
    "system",
    ["mtb", "bert-sg", "umt", "adapcoatt", "visualbert", "cnn-bilstm-crf", "hbilstm-crf", "pcnn"],
)
@pytest.mark.parametrize("task", ["ner", "re"])
def test_the_demo_trains_every_system_alike(task: str, system: str) -> None:
    assert train_preset(task, "demo", system=system) == replace(
        train_preset(task, "demo"), system=system
    )


def test_another_optimizer_leaves_the_recipes_momentum_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    momentums = {"mtb": {"re": {"optimizer": "sgd", "momentum": 0.9}}}
    monkeypatch.setattr("pipeline.training.recipes._SYSTEMS", momentums)
    for given, momentum in (({}, 0.9), ({"optimizer": "adam"}, 0.0)):
        assert train_config("re", "own", {"system": "mtb", **given}).momentum == momentum


def test_bert_crf_has_recipes_of_entities_alone(world: World) -> None:
    printed = world.printed("Recipes", "--system", "bert-crf")
    assert "TrainNER" in printed
    assert "TrainRE" not in printed


@pytest.fixture(scope="module")
def vectors(world: World) -> Path:
    """A file of vectors of some words of the posts."""
    lines = (world.data / "own/posts.jsonl").read_text().splitlines()
    words = sorted({word.lower() for line in lines for word in json.loads(line)["tokens"]})
    file = world.data / "vectors.txt"
    file.write_text("".join(f"{word} {n} {len(word)}\n" for n, word in enumerate(words[::2])))
    return file


@pytest.fixture(scope="module")
def objects(world: World) -> Path:
    """A file of the names of objects in the pictures."""
    lines = [*map(json.loads, (world.data / "own/posts.jsonl").read_text().splitlines())]
    names = ("dog, cat", "person", "", "a red car, dog, person, cat, boat")
    texts = {line["picture"]: names[n % len(names)] for n, line in enumerate(lines)}
    file = world.data / "objects.jsonl"
    rows = [json.dumps({"picture": name, "text": text}) for name, text in texts.items()]
    file.write_text("\n".join(rows))
    return file


def _picture_and_text(line: str) -> tuple[str, str]:
    fields = json.loads(line)
    return fields["picture"], fields["text"]


@pytest.mark.parametrize(
    ("task", "system", "more"),
    [
        ("TrainNER", "cnn-bilstm-crf", ()),
        ("TrainNER", "hbilstm-crf", ("--precision", "bfloat16")),
        ("TrainRE", "pcnn", ("--form", "zeng")),
        ("TrainNER", "ocsga", ("--knowledge-from", "OBJECTS")),
    ],
)
def test_a_system_on_words_predicts_what_it_predicted(
    world: World, vectors: Path, objects: Path, task: str, system: str, more: tuple[str, ...]
) -> None:
    more = tuple(str(objects) if option == "OBJECTS" else option for option in more)
    given = ("--system", system, "--word-vectors", str(vectors), "--epochs", "1", *more)
    rates = ("--learning-rate", "2e-3", "--warmup", "0.1")
    run = world.result(task, *given, *rates)
    again = world.run(task, "--dataset", "own", *given, *rates)
    assert "vectors.txt; without a vector: train " in again.stdout + again.stderr
    assert "word_vectors" in read_json(run / "manifest.json")["key"]["sources"]
    lines = [*map(json.loads, (run / "predictions.jsonl").read_text().splitlines())]
    fields = ("tokens", "head", "tail") if task == "TrainRE" else ("tokens",)
    records = [{name: line[name] for name in fields} for line in lines]
    if system == "ocsga":
        texts = dict(map(_picture_and_text, objects.read_text().splitlines()))
        own = [texts[Path(line["picture"]).name] for line in lines]
        records = [r | {"picture_text": t} for r, t in zip(records, own, strict=True)]
        assert read_json(run / "metrics.json")["words"]["unknown"]["train"] == 0
    predictions = Extractor.load(run).predict(records, strict=True)
    if task == "TrainRE":
        expected = [line["predicted_relation"] for line in lines]
        assert [label_of(one) for one in predictions] == expected
    else:
        found = [
            [(" ".join(line["tokens"])[e.start : e.end], e.label) for e in one.entities]
            for one, line in zip(predictions, lines, strict=True)
        ]
        assert any(found)
        assert found == [
            [
                (" ".join(line["tokens"][e["start"] : e["end"]]), e["label"])
                for e in line["predicted_entities"]
            ]
            for line in lines
        ]
    kept = more if {"--precision", "--knowledge-from"} & {*more} else ()
    evaluation = world.result("Evaluate", "--model", str(run), *kept)
    evaluated = (evaluation / "predictions.jsonl").read_text().splitlines()
    name = "predicted_relation" if task == "TrainRE" else "predicted_tags"
    assert [json.loads(line)[name] for line in evaluated] == [line[name] for line in lines]


def test_objects_are_read_where_no_texts_are_chosen(tmp_path: Path) -> None:
    given = {"dataset": "own", "system": "ocsga", "precision": "float32"}
    training = tasks.TrainNER(**given)
    assert training.with_texts()
    assert training.description.config.describer == "objects"
    (tmp_path / "texts.jsonl").touch()
    other = tasks.TrainNER(**given, knowledge_from=(str(tmp_path / "texts.jsonl"),))
    assert other.description.config.describer == "file"
    model = {"texts": {"describer": "ocr"}, "architectures": ["EntityTagger"]}
    (tmp_path / "config.json").write_text(json.dumps(model))
    for stage in (tasks.Evaluate, tasks.Predict, tasks.ShowPredictions):
        running = stage(dataset="own", model=str(tmp_path))
        assert running.description.config.describer == "ocr"  # as the model's


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (tasks.TrainNER, {"system": "cnn-bilstm-crf", "momentum": 0.5, "word_vectors": "glove"}),
        (tasks.TrainRE, {"system": "pcnn", "form": "zeng"}),
    ],
)
def test_text_only_beside_a_system_leaves_out_what_it_does_not_read(
    task: type[tasks.TrainRE], options: dict[str, object]
) -> None:
    run = task(dataset="own", precision="float32", epochs=3, **options)
    config = run.text_only().config
    assert (config.system, config.variant, config.epochs) == ("hvpnet", "text-only", 3)
    momentum = run.clone(optimizer="sgd", momentum=0.9).text_only().config.momentum
    assert momentum == 0.9


def test_a_system_on_word_pieces_may_always_read_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_system(tmp_path, monkeypatch, "class A:\n    reads_texts = True\n")
    config = train_config("re", "own", {"system": "my-own", "knowledge_tokens": 20})
    assert (config.knowledge, config.knowledge_tokens) == (True, 20)
    config = train_config("ner", "own", {"system": "ocsga", "knowledge_tokens": 20})
    assert (config.knowledge, config.knowledge_tokens) == (True, LEAST_TEXT)


def test_the_parser_counts_where_sentences_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.grounding.noun_phrases.parser_version", lambda mode: "parser 4")
    given = {"dataset": "own", "encoder": "scratch", "precision": "float32"}
    assert tasks.TrainRE(**given, system="mega").settings()["parser"] == "parser 4"
    assert "parser" not in tasks.TrainRE(**given, system="umt").settings()


def test_bert_crf_is_the_text_only_variant() -> None:
    given = {"dataset": "own", "encoder": "scratch", "precision": "float32"}
    runs = [
        tasks.TrainNER(**given, **more).config
        for more in ({"system": "bert-crf"}, {"variant": "text-only"})
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("ner", {"system": "mtb"}, "--system mtb: expected TrainRE, which it is made for"),
        ("re", {"system": "bert-crf"}, "--system bert-crf: expected TrainNER, which it is made"),
        ("re", {"system": "mtb", "variant": "flat"}, "--variant: expected text-only with --system"),
        (
            "re",
            {"system": "mtb", "style": "released"},
            "--style released: expected --system",
        ),
        (
            "ner",
            {"system": "hbilstm-crf", "encoder": "scratch"},
            "--encoder: expected none with --system hbilstm-crf, which reads words .*, found scr",
        ),
        (
            "ner",
            {"system": "cnn-bilstm-crf", "knowledge": True},
            "--knowledge: expected none with --system cnn-bilstm-crf",
        ),
        (
            "re",
            {"system": "pcnn", "relation_head": "cls"},
            r"--relation-head: expected markers with --system pcnn, which has no \[CLS\], found",
        ),
        (
            "re",
            {"word_vectors": "glove.txt"},
            "--word-vectors: expected a --system that reads words, such as .*pcnn, found hvpnet",
        ),
        ("re", {"system": "pcnn", "form": "cnn"}, "--form: expected opennre or zeng with --system"),
        ("re", {"system": "mtb", "form": "att"}, "--form: expected none with --system mtb, found"),
        ("re", {"system": "mtb", "recipe": "released"}, "--recipe released: expected --system"),
    ],
)
def test_what_a_system_cannot_do_is_one_line(
    task: str, values: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        train_config(task, "own", values)


def test_a_model_of_words_has_no_controls(world: World, mtb: Path) -> None:
    done = world.run("Controls", "--dataset", "own", "--model", str(mtb))
    assert done.returncode != 0
    assert (
        "expected a model that uses pictures or their texts, found a text-only one"
        in (done.stderr.splitlines()[-1])
    )
