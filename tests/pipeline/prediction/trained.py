"""Train runs for the tests, in their process, on a few posts of the demo."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.corpus.labels import entities_of, relation_labels, tag_labels
from pipeline.corpus.post import Post
from pipeline.description.texts import write_texts
from pipeline.engine.files import read_json
from pipeline.extraction.config import ExtractConfig, PictureFiles
from pipeline.grounding.config import GroundConfig
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.train import train_into
from tests.world import SALIENCE, extract_posts

EXTRACT = ExtractConfig(backbone="resnet18", weights="random", size=64)
CONFIG = TrainConfig(
    encoder=SCRATCH,
    epochs=1,
    batch_size=8,
    learning_rate=2e-3,
    head_learning_rate=5e-3,
    evaluate_from=0,
)


TOLD = {"describer": "file", "files": ["told"]}


def told(post: Post) -> str:
    """Return a text that tells a post's relation; every fourth post has none."""
    return "" if int(post.id.rpartition("-")[2]) % 4 == 0 else f"this picture tells {post.relation}"


@dataclass(frozen=True)
class Trained:
    """Posts with stored pyramids, on which runs are trained."""

    root: Path
    posts: list[Post]
    files: PictureFiles
    grounding: GroundConfig

    @classmethod
    def make(
        cls,
        root: Path,
        grounding: GroundConfig = SALIENCE,
        extraction: ExtractConfig = EXTRACT,
        change: Callable[[Post], Post] = lambda post: post,
    ) -> "Trained":
        posts, files = extract_posts(root, extraction, grounding, change)
        (root / "posts").mkdir()
        with (root / "posts/posts.jsonl").open("w") as file:
            file.writelines(post.to_json() + "\n" for post in posts)
        labels = {"re": relation_labels(posts), "ner": tag_labels(posts)}
        (root / "posts/labels.json").write_text(json.dumps(labels))
        (root / "texts").mkdir()
        write_texts(((post.picture, told(post)) for post in posts), TOLD, root / "texts")
        (root / "texts/report.json").write_text('{"posts": 7, "problems": {"a.jpg": "missing"}}')
        return cls(root, posts, files, grounding)

    def run(self, name: str, task: str, **settings: Any) -> Path:
        """Train a run of `ner` or `re`. Returns its folder, with the files of the stage."""
        folder = self.root / name
        folder.mkdir()
        config = replace(CONFIG, **settings)
        key = {"stage": "GroundCrops", "settings": self.grounding.described(), "sources": {}}
        files = None if config.variant == "text-only" else self.files
        about = {"task": task, "dataset": "own", "keys": [] if files is None else [key]}
        texts = self.root / "texts" if config.knowledge else None
        train_into(folder, task, self.root / "posts", config, files, "cpu", about, texts=texts)
        return folder

    def records(self, run: Path) -> tuple[list[dict[str, Any]], list[Any]]:
        """Return the posts of a run's predictions.jsonl as records, and their predictions.

        For entities a list of (label, start, end) in words, for relations the label.
        """
        records, answers = [], []
        boxes = {post.id: post.boxes for post in self.posts}
        phrases = {post.id: post.phrases for post in self.posts}
        texts = {post.id: told(post) for post in self.posts}
        reads_texts = read_json(run / "model/config.json")["knowledge_tokens"] > 0
        for line in (run / "predictions.jsonl").read_text().splitlines():
            fields = json.loads(line)
            record = {"id": fields["id"], "tokens": fields["tokens"]}
            if "picture" in fields:
                record["picture"] = str(self.root / fields["picture"])
            for name, own in (("boxes", boxes), ("phrases", phrases)):
                if own[fields["id"]] is not None:
                    record[name] = own[fields["id"]]
            if reads_texts:
                record["picture_text"] = texts[fields["id"]]
            if "predicted_relation" in fields:
                record |= {"head": fields["head"], "tail": fields["tail"]}
                answers.append(fields["predicted_relation"])
            else:
                answers.append(entities_of(fields["predicted_tags"]))
            records.append(record)
        return records, answers


def in_words(prediction: Any) -> list[tuple[str, int, int]]:
    """Return a prediction's entities as (label, start, end) in the record's tokens."""
    starts, ends, place = {}, {}, 0
    for number, token in enumerate(prediction.given["tokens"]):
        starts[place], ends[place + len(token)] = number, number + 1
        place += len(token) + 1
    return [(one.label, starts[one.start], ends[one.end]) for one in prediction.entities]


def label_of(prediction: Any) -> str:
    """Return the relation of a prediction whose record has head and tail."""
    return prediction.relations[0].label if prediction.relations else "None"
