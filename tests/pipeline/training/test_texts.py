"""Runs that read picture texts: what they store, and that only their text decides."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tasks
from pipeline.description.texts import write_texts
from pipeline.engine.files import read_json
from pipeline.errors import SettingError
from pipeline.training.evaluate import evaluate_into
from tests.pipeline.prediction.trained import TOLD, Trained, told


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained.make(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def reads(trained: Trained) -> Path:
    return text_only(trained, "reads", knowledge=True)


def text_only(trained: Trained, name: str, **settings: Any) -> Path:
    return trained.run(name, "re", variant="text-only", epochs=2, **settings)


def test_the_model_and_the_metrics_tell_the_texts(reads: Path) -> None:
    config, metrics = read_json(reads / "model/config.json"), read_json(reads / "metrics.json")
    assert (config["knowledge_tokens"], config["texts"]) == (64, TOLD)
    assert metrics["texts"] == {**TOLD, "posts": 7}
    assert metrics["config"]["knowledge"]


def evaluated(trained: Trained, run: Path, texts: Path, folder: Path) -> str:
    folder.mkdir()
    evaluate_into(
        folder, run / "model", trained.root / "posts", None, "cpu", "float32", {}, texts=texts
    )
    return (folder / "predictions.jsonl").read_text()


def test_an_evaluation_reads_the_same_texts(trained: Trained, reads: Path, tmp_path: Path) -> None:
    own = (reads / "predictions.jsonl").read_text()
    assert evaluated(trained, reads, trained.root / "texts", tmp_path / "own") == own


def test_other_texts_give_other_answers(
    trained: Trained, reads: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "texts"
    write(trained, other, {"describer": "ocr"}, lambda post: "nothing to see here")
    found = evaluated(trained, reads, other, tmp_path / "other")
    assert found != (reads / "predictions.jsonl").read_text()
    assert "expected picture texts made as at training (describer file), found describer ocr" in (
        caplog.text
    )


def write(trained: Trained, folder: Path, made_by: dict[str, Any], text: Any) -> None:
    folder.mkdir()
    write_texts(((post.picture, text(post)) for post in trained.posts), made_by, folder)
    (folder / "report.json").write_text("{}")


def test_without_a_text_a_run_is_that_without_knowledge(trained: Trained, tmp_path: Path) -> None:
    """Runs of the same seed get the same weights if no post has a text."""
    silent = Trained(tmp_path, trained.posts, trained.files, trained.grounding)
    (tmp_path / "posts").symlink_to(trained.root / "posts")
    write(trained, tmp_path / "texts", TOLD, lambda post: "")
    runs = [text_only(silent, name, knowledge=name == "with") for name in ("with", "without")]
    one, other = (load_file(run / "model/model.safetensors") for run in runs)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_shuffled_texts_are_those_of_other_posts(
    trained: Trained, reads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.training import train

    given: dict[int, str] = {}
    original = train.with_texts

    def spy(encoded: Any, texts: Any, *rest: Any) -> Any:
        given.update((post.number, texts([post.number])[0]) for post in encoded)
        return original(encoded, texts, *rest)

    monkeypatch.setattr(train, "with_texts", spy)
    run = text_only(trained, "shuffled", knowledge=True, shuffle_knowledge=True)
    assert read_json(run / "model/config.json")["texts"] == {**TOLD, "shuffled": True}
    own = {number: told(post) for number, post in enumerate(trained.posts)}
    assert sorted(map(bool, given.values())) == sorted(bool(own[n]) for n in given)
    assert sum(given[n] != own[n] for n in given) > len(given) / 2
    for split in ("train", "val", "test"):  # no text of test is trained on
        numbers = [n for n, post in enumerate(trained.posts) if post.split == split and n in given]
        assert sorted(given[n] for n in numbers) == sorted(own[n] for n in numbers)


def test_sentence_and_text_must_fit_into_the_encoder_together(trained: Trained) -> None:
    with pytest.raises(SettingError, match="--max-tokens and --knowledge-tokens: expected at most"):
        text_only(trained, "long", knowledge=True, knowledge_tokens=500)


@pytest.mark.parametrize(
    ("values", "named"),
    [({"knowledge_from": ("ocr",)}, "--knowledge-from"), ({"shuffle_knowledge": True}, "--sh")],
)
def test_options_of_texts_without_knowledge_are_refused(values: dict[str, Any], named: str) -> None:
    training = tasks.TrainRE(dataset="own", precision="float32", **values)
    with pytest.raises(SettingError, match=f"{named}.*: expected --knowledge beside it"):
        _ = training.config
    assert tasks.TrainRE(dataset="own", precision="float32", knowledge=True, **values).config
