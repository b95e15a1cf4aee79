"""Posts whose head and tail are farther apart than the encoder reads don't stop a training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import corpus
from pipeline.corpus.labels import relation_labels
from pipeline.corpus.post import Post
from pipeline.errors import DataError, SettingError
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.head_of import HEADS
from pipeline.training.train import train
from tests.tiny import SHARED

CASE = SHARED / "cases" / "entities-far-apart"
CONFIG = TrainConfig(
    encoder=SCRATCH, variant="text-only", epochs=1, evaluate_from=1, learning_rate=1e-3
)


def run(folder: Path, posts: list[Post], config: TrainConfig = CONFIG) -> list[str]:
    """Ids in `predictions.jsonl` after a training."""
    train(HEADS["re"], posts, relation_labels(posts), config, None, folder, "cpu")
    return [json.loads(line)["id"] for line in (folder / "predictions.jsonl").open()]


def expected_ids(posts: list[Post]) -> list[str]:
    """Of val, then of test."""
    return [p.id for split in ("val", "test") for p in posts if p.split == split]


@pytest.mark.skipif(not CASE.exists(), reason="the cases are not there")
@pytest.mark.parametrize("longest", [80, 200])
def test_the_case_trains(longest: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    posts = corpus.read(corpus.locate("posts", CASE / "data")).posts
    ids = run(tmp_path, posts, replace(CONFIG, max_tokens=longest))
    assert ids == expected_ids(posts)
    [line] = [r.getMessage() for r in caplog.records if "apart" in r.getMessage()]
    far = next(p for p in posts if p.id == "200")
    assert line == (
        f"head and tail are more than {longest} word pieces apart in 1 post ({far.split} '200'): "
        "words between them are left out"
    )


@pytest.mark.skipif(not CASE.exists(), reason="the cases are not there")
@pytest.mark.parametrize("longest", [7, 513, 900])
def test_a_length_that_the_encoder_does_not_take(longest: int, tmp_path: Path) -> None:
    posts = corpus.read(corpus.locate("posts", CASE / "data")).posts
    with pytest.raises(SettingError, match=rf"--max-tokens: .* 8 to 512 .*, found {longest}$"):
        run(tmp_path, posts, replace(CONFIG, max_tokens=longest))


def posts_of(split: str, long: int = 0, short: int = 2) -> list[Post]:
    """Posts of two words, and some whose head alone has 30."""
    words = tuple(f"w{n}" for n in range(40))
    plain = Post("", split, words[:2], None, None, (0, 1), (1, 2), "r")
    wide = Post("", split, words, None, None, (0, 30), (35, 36), "r")
    kinds = [plain] * short + [wide] * long
    return [replace(post, id=f"{split}{n}") for n, post in enumerate(kinds)]


@pytest.mark.parametrize("long_val", [0, 1])
def test_posts_that_do_not_fit_are_counted_and_predicted_none(
    long_val: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    posts = [*posts_of("train", 1), *posts_of("val", long_val), *posts_of("test", 7, 0)]
    config = replace(CONFIG, max_tokens=20)
    ids = run(tmp_path, posts, config)
    assert ids == expected_ids(posts)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").open()]
    assert {line["predicted_relation"] for line in lines if line["split"] == "test"} == {"None"}
    unread = {"val2", *(f"test{n}" for n in range(7))}
    assert {line["id"] for line in lines if "score" not in line} == unread & set(ids)
    logged = [r.getMessage() for r in caplog.records if "alone" in r.getMessage()]
    beginning = "head and tail alone have more than 20 word pieces in"
    assert f"{beginning} 1 post ('train2') of train: not trained on" in logged
    named = ", ".join(f"'test{n}'" for n in range(5))
    assert f"{beginning} 7 posts ({named} and 2 more) of test: predicted None" in logged
    assert len(logged) == 2 + long_val


@pytest.mark.parametrize("split", ["train", "val"])
def test_without_any_post_that_fits_is_one_line(split: str, tmp_path: Path) -> None:
    other = {"train": "val", "val": "train"}[split]
    posts = [*posts_of(split, 3, 0), *posts_of(other)]
    with pytest.raises(DataError, match=f"split '{split}' that fit into --max-tokens 20, found"):
        run(tmp_path, posts, replace(CONFIG, max_tokens=20))
