"""Test prediction through the store: answers equal the Extractor's and are computed once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hvpnet import Extractor
from pipeline.corpus.post import Post
from pipeline.engine.answers import Answers
from pipeline.engine.files import read_json, write_json
from pipeline.extraction.config import PictureFiles
from pipeline.prediction.prediction import Entity, Prediction, Relation
from pipeline.prediction.stored import StoredRun, Used, predict_into
from pipeline.training.results import precision_of
from tests.pipeline.prediction.conftest import RUNS, TOLD
from tests.pipeline.prediction.trained import Trained, in_words, label_of, told


@dataclass(frozen=True)
class Stored(Trained):
    """Trained runs and their predictions."""

    def predict(
        self, names: Sequence[str], memory: Path, **changes: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the lines of predictions.jsonl, and report.json."""
        posts = changes.pop("posts", self.posts)
        with_pictures = any(RUNS[name][1] == "hvpnet" for name in names)
        run = StoredRun(
            version=1,
            models=[self.model(name) for name in names],
            files=self.files if with_pictures else None,
            device="cpu",
            texts=self.root / "texts" if {*names} & {*TOLD} else None,
        )
        check = changes.pop("check_sources", lambda: None)
        with Answers(memory) as answers:
            predict_into(memory.parent, posts, self.root, replace(run, **changes), answers, check)
        lines = (memory.parent / "predictions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], read_json(memory.parent / "report.json")

    def model(self, name: str) -> Used:
        folder = self.root / name / "model"
        return Used(folder, f"digest of {name}", precision_of(folder))


@pytest.fixture(scope="module")
def stored(runs: Trained) -> Stored:
    return Stored(runs.root, runs.posts, runs.files, runs.grounding)


def as_record(post: Post, root: Path, with_pair: bool, tells: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"id": post.id, "tokens": post.tokens}
    if tells:
        record["picture_text"] = told(post)
    if post.picture is not None:
        record["picture"] = str(root / post.picture)
    return record | ({"head": post.head, "tail": post.tail} if with_pair else {})


def rounded(value: Any) -> Any:
    """Round scores to three decimals: float32 rounding differs between batches."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value


@pytest.mark.parametrize(
    "names",
    [["ner", "re"], ["re"], ["re-words"], ["ner-words", "re"], ["ner-told", "re"], ["re-told"]],
    ids=" ".join,
)
def test_predictions_are_the_extractors(stored: Stored, names: list[str], tmp_path: Path) -> None:
    with_pair, posts = not names[0].startswith("ner"), stored.posts[:6]
    tells = bool({*names} & {*TOLD})
    records = [as_record(post, stored.root, with_pair, tells) for post in posts]
    extractor = Extractor.load(*(stored.root / name for name in names), device="cpu")
    expected = [one.to_dict() for one in extractor.predict(records)]
    lines, report = stored.predict(names, tmp_path / "answers.sqlite", posts=posts)
    assert rounded(lines) == rounded(json.loads(json.dumps(expected)))
    assert [line.get("picture_text") for line in lines] == [
        told(post) if tells else None for post in posts
    ]
    assert report["posts"] == len(lines) == len(posts)
    assert any(line["relations"] for line in lines)


@pytest.mark.parametrize("name", RUNS)
def test_labels_are_those_of_the_training(stored: Stored, name: str, tmp_path: Path) -> None:
    records, answers = stored.records(stored.root / name)
    lines, _ = stored.predict([name], tmp_path / "answers.sqlite")
    by_id = {line["id"]: as_prediction(line) for line in lines}
    read = label_of if RUNS[name][0] == "re" else in_words
    assert [read(by_id[record["id"]]) for record in records] == answers


def as_prediction(line: dict[str, Any]) -> Prediction:
    return Prediction(
        entities=tuple(Entity(**{"label": "", **entity}) for entity in line["entities"]),
        relations=tuple(Relation(**relation) for relation in line["relations"]),
        given={"tokens": line["tokens"]},
    )


def test_a_relation_model_alone_reads_the_entities_of_tags(stored: Stored, tmp_path: Path) -> None:
    posts = [replace(post, head=None, tail=None) for post in stored.posts]
    lines, _ = stored.predict(["re-words"], tmp_path / "answers.sqlite", posts=posts)
    sentence = " ".join(posts[0].tokens)
    record = {"text": sentence, "entities": lines[0]["entities"]}
    expected = Extractor.load(stored.root / "re-words", device="cpu").predict(record)
    assert len(lines[0]["entities"]) == sum(tag[0] == "B" for tag in posts[0].tags or ())
    assert rounded(lines[0]["relations"]) == rounded(expected.to_dict()["relations"])


def test_pictures_are_counted_by_status(stored: Stored, tmp_path: Path) -> None:
    _, report = stored.predict(["ner"], tmp_path / "answers.sqlite")
    posts = len(stored.posts)
    assert report["pictures"] == {"none": 1, "missing": 1, "used": posts - 2}
    _, report = stored.predict(["ner-words"], tmp_path / "answers.sqlite")
    assert report["pictures"] == {"none": 1, "not read": posts - 1}


# --- each answer is computed once


def computed(stored: Stored, memory: Path, **changes: Any) -> int:
    """Count the posts that are predicted again after a run of `ner`."""
    stored.predict(["ner"], memory)
    _, report = stored.predict(changes.pop("names", ["ner"]), memory, **changes)
    return int(report["predicted_now"])


def test_answers_of_an_earlier_run_are_read(stored: Stored, tmp_path: Path) -> None:
    first, _ = stored.predict(["ner", "re"], tmp_path / "answers.sqlite")
    second, report = stored.predict(["re", "ner"], tmp_path / "answers.sqlite", batch_size=7)
    assert second == first
    assert report["predicted_now"] == 0


def test_a_text_that_changed_is_predicted_again(stored: Stored, tmp_path: Path) -> None:
    posts = [*stored.posts]
    posts[3] = replace(posts[3], tokens=("Ada", *posts[3].tokens[1:]))
    assert computed(stored, tmp_path / "answers.sqlite", posts=posts) == 1


def test_the_same_sentence_and_picture_are_predicted_once(stored: Stored, tmp_path: Path) -> None:
    posts = [replace(post, tokens=("Ada",)) for post in stored.posts]
    lines, report = stored.predict(["ner-words"], tmp_path / "answers.sqlite", posts=posts)
    assert report["predicted_now"] == 1
    assert [line["id"] for line in lines] == [post.id for post in posts]


@pytest.mark.parametrize("other", ["model", "models", "precision", "version"])
def test_all_are_predicted_again_with(other: str, stored: Stored, tmp_path: Path) -> None:
    ner = stored.model("ner")
    changes: dict[str, dict[str, Any]] = {
        "model": {"models": [replace(ner, digest="of other weights")]},
        "models": {"names": ["ner", "re"]},
        "precision": {"models": [replace(ner, precision="bfloat16")]},
        "version": {"version": 2},
    }
    assert computed(stored, tmp_path / "answers.sqlite", **changes[other]) == len(stored.posts)


class Changed(Exception):
    """The error raised for a model whose files do not have its digest."""


def changed() -> None:
    raise Changed


def test_no_answer_is_kept_of_a_model_that_changed(stored: Stored, tmp_path: Path) -> None:
    with pytest.raises(Changed):
        stored.predict(["ner-words"], tmp_path / "answers.sqlite", check_sources=changed)
    _, report = stored.predict(["ner-words"], tmp_path / "answers.sqlite")
    assert report["predicted_now"] > 0


# --- what does not go together


def grounded_with(files: PictureFiles, folder: Path, **settings: Any) -> PictureFiles:
    """Copy the pictures' files, with a report that names other settings of grounding."""
    report = read_json(files.grounding / "report.json")
    write_json(folder / "report.json", report | {"settings": report["settings"] | settings})
    (folder / "crops.jsonl").write_bytes((files.grounding / "crops.jsonl").read_bytes())
    return replace(files, grounding=folder)


def test_other_grounding_than_the_trainings_is_said(
    stored: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "crops").mkdir()
    files = grounded_with(
        stored.files, tmp_path / "crops", grounder="released", max_crops=2, phrases="types"
    )
    stored.predict(["ner"], tmp_path / "answers.sqlite")
    assert caplog.text == ""
    stored.predict(["ner"], tmp_path / "answers.sqlite", files=files)
    assert [record.getMessage() for record in caplog.records] == [
        f"{stored.root}/ner/model: expected pictures grounded as at training (grounder "
        "salience, max_crops 3), found grounder released, max_crops 2; scores may drop; give the "
        "settings of the training with --GroundCrops-grounder, --GroundCrops-max-crops"
    ]
