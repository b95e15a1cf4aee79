"""Test the stage Predict: the cost of a change, a killed run, and refused models."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import luigi
import pytest
from PIL import Image

import tasks
from pipeline.engine.answers import Answers
from pipeline.engine.files import read_json, write_json
from pipeline.errors import FAMILY, DataError, SettingError
from pipeline.prediction.forward import Forward
from tests.pipeline.prediction.trained import EXTRACT, Trained
from tests.staleness import Layouts

OPTIONS = {
    "GroundCrops.grounder": "salience",
    "GroundCrops.phrases": "none",
    "ExtractPyramid.backbone": EXTRACT.backbone,
    "ExtractPyramid.weights": EXTRACT.weights,
    "ExtractPyramid.size": str(EXTRACT.size),
    "ExtractPyramid.precision": EXTRACT.precision,
}
POSTS = 40


@dataclass(frozen=True)
class World:
    """A data set `own`, a store, and trained runs, each a folder below `runs`."""

    root: Path
    runs: Path

    @property
    def posts(self) -> Path:
        return self.root / "data/own/posts.jsonl"

    @property
    def places(self) -> Layouts:
        return Layouts(self.root, str(self.root / "store"))

    def stage(self, model: str, **parameters: Any) -> luigi.Task:
        """Return Predict for models, given as names of runs; spaces around a comma are allowed."""
        named = " , ".join(str(self.runs / name) for name in model.split(","))
        return tasks.Predict(dataset="own", model=named, device="cpu", **parameters)

    def predict(self, model: str = "ner,re", **parameters: Any) -> dict[str, Any]:
        """Run Predict and the stages that it needs. Returns its report."""
        with self.places.configured(OPTIONS):
            stage = self.stage(model, **parameters)
            assert luigi.build([stage], local_scheduler=True, no_lock=True, log_level="ERROR")
            folder = stage.folder
        report: dict[str, Any] = read_json(folder / "report.json")
        lines = (folder / "predictions.jsonl").read_text().splitlines()
        assert len(lines) == report["posts"] == sum(report["pictures"].values())
        return report

    def copy(self, root: Path) -> "World":
        for name in ("data", "store"):
            shutil.copytree(self.root / name, root / name)
        return World(root, self.runs)


@pytest.fixture(scope="module")
def made(runs: Trained, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a world whose posts both models have predicted."""
    root = tmp_path_factory.mktemp("made")
    shutil.copytree(runs.root / "own", root / "data/own")
    world = World(root, runs.root)
    assert world.predict() == {
        "posts": POSTS,
        "predicted_now": POSTS,
        "pictures": {"used": POSTS},
        "truncated": 0,
    }
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copy(tmp_path)


# --- what a change costs


def test_new_posts_alone_are_predicted(world: World) -> None:
    first = json.loads(world.posts.read_text().splitlines()[0])
    picture = Image.effect_noise((90, 80), 50).convert("RGB")
    picture.save(world.posts.parent / "pictures/new.jpg")
    with world.posts.open("a") as file:
        for n, name in enumerate(("new.jpg", "new.jpg", first["picture"])):
            tokens = ["Ada", f"{n}", *first["tokens"][2:]]
            new = {"id": f"new {n}", "split": "test", "tokens": tokens, "picture": name}
            file.write(json.dumps(new) + "\n")
    report = world.predict()
    assert (report["posts"], report["predicted_now"]) == (POSTS + 3, 3)


def test_a_changed_picture_is_predicted_again(world: World) -> None:
    picture = json.loads(world.posts.read_text().splitlines()[5])["picture"]
    Image.effect_noise((90, 80), 50).convert("RGB").save(world.posts.parent / "pictures" / picture)
    assert world.predict()["predicted_now"] == 1
    assert world.predict("ner-words")["pictures"] == {"not read": POSTS}


def test_a_changed_text_is_predicted_again(world: World) -> None:
    world.posts.write_text(world.posts.read_text().replace('"Noah"', '"Ada"', 1))
    assert world.predict()["predicted_now"] == 1


@pytest.mark.parametrize(
    ("model", "parameters"), [("ner", {}), ("ner,re", {"precision": "bfloat16"})]
)
def test_other_models_and_precisions_predict_all(
    model: str, parameters: dict[str, Any], world: World
) -> None:
    assert world.predict(model, **parameters)["predicted_now"] == POSTS


def test_models_of_words_need_no_pictures(runs: Trained, tmp_path: Path) -> None:
    (tmp_path / "data/own").mkdir(parents=True)
    shutil.copy(runs.root / "own/posts.jsonl", tmp_path / "data/own")
    world = World(tmp_path, runs.root)
    assert world.predict("re-words/model,ner-words")["posts"] == POSTS
    assert {path.name for path in (tmp_path / "store").iterdir() if path.is_dir()} == {
        *("ReadPosts", "Predict", "locks"),
    }


class Killed(BaseException):
    """Raised to end a run as a signal does."""


def test_a_killed_run_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answers, "SECONDS", 0.0)
    forward, calls = Forward.__call__, iter(range(3))

    def killed(self: Forward, *inputs: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return forward(self, *inputs)

    with monkeypatch.context() as patch, world.places.configured(OPTIONS):
        patch.setattr(Forward, "__call__", killed)
        patch.setattr(Answers, "__exit__", lambda *_: None)  # SIGKILL leaves no time for it
        with pytest.raises(Killed):
            world.stage("ner", batch_size=8).run()
    assert world.predict("ner")["predicted_now"] == POSTS - 3 * 8


# --- models that are refused


def refusal(world: World, model: str) -> str:
    """Return the error message with which Predict refuses to run."""
    with world.places.configured(OPTIONS), pytest.raises(FAMILY) as caught:
        needed_and_run(world.stage(model))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def needed_and_run(stage: luigi.Task) -> None:
    """Run a stage as Luigi does."""
    stage.deps()
    stage.run()


def altered(runs: Path, task: str, folder: Path, **settings: Any) -> Path:
    """Copy a run, and change the settings of pyramids that its model records."""
    shutil.copytree(runs / task, folder)
    config = read_json(folder / "model/config.json")
    write_json(folder / "model/config.json", config | {"pyramids": config["pyramids"] | settings})
    return folder


def test_pyramids_of_another_kind_are_refused(made: World, tmp_path: Path) -> None:
    other = altered(made.runs, "ner", tmp_path / "other", size=96)
    assert refusal(made, str(other)) == (
        f"{other}/model: expected pyramids with size 96; found size 64; extract them with "
        "--ExtractPyramid-size"
    )


def test_models_of_different_pyramids_are_refused(made: World, tmp_path: Path) -> None:
    other = altered(made.runs, "ner", tmp_path / "other", size=96, precision="bfloat16")
    assert refusal(made, f"{other},re") == (
        "--model: expected models that were trained on pyramids of one kind, found "
        f"{other}/model (size 96) and {made.runs}/re/model (size 64); predict with each alone, or "
        "train one of them again"
    )


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("nothing", DataError, "--model: expected a file or folder, found nothing at .*nothing"),
        ("own", DataError, "own: expected a model folder made by .*, found no config.json"),
        ("ner,ner-words", SettingError, "--model: expected one model for entities and one for "
         "relations, found two for entities: .*ner/model and .*ner-words/model"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(
    made: World, model: str, error: type[Exception], message: str
) -> None:
    with made.places.configured(OPTIONS), pytest.raises(error, match=message):
        made.stage(model).fingerprint  # noqa: B018


def test_no_model_is_refused(made: World) -> None:
    with made.places.configured(OPTIONS), pytest.raises(SettingError, match="found none"):
        tasks.Predict(dataset="own", model=" , ").fingerprint  # noqa: B018


def test_posts_that_a_relation_model_cannot_read_are_refused(runs: Trained, tmp_path: Path) -> None:
    (tmp_path / "data/own").mkdir(parents=True)
    (tmp_path / "data/own/posts.jsonl").write_text('{"split": "test", "text": "Ada"}\n')
    line = refusal(World(tmp_path, runs.root), "re")  # before any picture is looked for
    assert line.startswith(
        "expected posts with head and tail, or with tags, for a relation model alone"
    )


def test_a_batch_of_nothing_is_refused(made: World) -> None:
    with made.places.configured(OPTIONS), pytest.raises(SettingError) as caught:
        made.stage("ner", batch_size=0).deps()
    assert str(caught.value) == "--batch-size: expected 1 or more, found 0"


# --- ShowPredictions


def shown(world: World, model: str | None = None, beside: str | None = None) -> Any:
    """Return ShowPredictions for runs, given by name."""

    def paths(runs: str | None) -> str | None:
        return runs and ",".join(str(world.runs / name) for name in runs.split(","))

    return tasks.ShowPredictions(
        dataset="own", device="cpu", model=paths(model), beside=paths(beside)
    )


def test_the_lines_end_with_the_page(made: World) -> None:
    with made.places.configured(OPTIONS):
        stage = shown(made, "ner", "ner-words")
        assert luigi.build([stage], local_scheduler=True, no_lock=True, log_level="ERROR")
        *_, last = stage.lines()
    page = Path(last.removeprefix("open in a browser: "))
    assert "<h3>without pictures</h3>" in page.read_text()


def test_without_models_the_data_sets_own_are_trained_with_pictures_and_without(
    made: World,
) -> None:
    with made.places.configured(OPTIONS):
        needed = shown(made).requires()
        trained = [one for one in needed if one.STAGE.startswith("Train")]
        assert [(one.STAGE, one.config.variant) for one in trained] == [
            *(("TrainNER", "text-only"), ("TrainRE", "text-only")),
            *(("TrainNER", "hvpnet"), ("TrainRE", "hvpnet")),
        ]


def test_systems_are_shown_beside_text_only_and_read_their_own_texts(made: World) -> None:
    options = {"TrainNER.system": "ocsga", "TrainRE.system": "pcnn", "TrainRE.form": "zeng"}
    with made.places.configured({**OPTIONS, **options}):
        stage = shown(made)
        runs, beside = stage.trainings
        assert [run.config.system for run in (*runs, *beside)] == ["ocsga", "pcnn"] + 2 * ["hvpnet"]
        assert stage.description.config.describer == "objects"
        other = stage.clone(knowledge_from=("ocr",))
        assert other.trainings[0][0].description.config.describer == "ocr"


def test_each_training_is_in_the_key(made: World) -> None:
    with made.places.configured(OPTIONS):
        stage = shown(made)
        keys = [run.fingerprint for runs in stage.trainings for run in runs]
        assert len({*keys}) == 4
        assert stage.key["settings"]["trainings"] == [keys[:2], keys[2:]]


def test_models_beside_others_predict_the_same(made: World) -> None:
    with made.places.configured(OPTIONS), pytest.raises(SettingError) as caught:
        shown(made, "ner,re", "re-words").deps()
    assert str(caught.value) == (
        "--beside: expected models for entities and relations, the tasks of the models to compare "
        "with, found models for relations"
    )


def test_a_task_without_labels_is_refused_before_a_training(runs: Trained, tmp_path: Path) -> None:
    (tmp_path / "data/own").mkdir(parents=True)
    lines = (runs.root / "own/posts.jsonl").read_text().splitlines()
    kept = [{n: v for n, v in json.loads(line).items() if n != "tags"} for line in lines]
    (tmp_path / "data/own/posts.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in kept))
    world = World(tmp_path, runs.root)
    with world.places.configured(OPTIONS), pytest.raises(DataError) as caught:
        shown(world).deps()
    assert str(caught.value) == (
        "expected posts with tags in split 'train' to train on, found none; name the runs to show "
        "with --model RUN"
    )
