"""Evaluate a saved model on a data set: predictions and scores, without training."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.contract import System
from model.encoder import quiet_transformers
from pipeline.corpus.label_version import about_labels
from pipeline.corpus.post import Post
from pipeline.corpus.posts import load_posts
from pipeline.description.texts import StoredTexts
from pipeline.engine.files import write_json
from pipeline.extraction.config import PictureFiles
from pipeline.extraction.index import StoredPyramids
from pipeline.training.encode import Encoded, unknown_words
from pipeline.training.heads import SCORED, log_shortened, predict_into
from pipeline.training.knowledge import Texts
from pipeline.training.possible import check_evaluation, check_labels
from pipeline.training.saved import SavedModel, check_pyramids, warn_of_texts
from pipeline.training.train import about_pictures, about_texts
from pipeline.training.trainer import CHECKPOINTS, make_evaluator
from pipeline.training.vocabulary import log_unknown


def evaluate_into(
    folder: Path,
    model_folder: Path,
    posts_folder: Path,
    files: PictureFiles | None,
    device: str,
    precision: str,
    about: dict[str, Any],
    texts: Path | None = None,
) -> None:
    """Run the evaluation stage: write `predictions.jsonl` and `metrics.json` of val and test.

    Posts without labels are predicted but not scored.

    model_folder: written by training or ImportReleased.
    posts_folder: output of ReadPosts.
    files: the folders of pyramids; None for a text-only model.
    about: further entries of `metrics.json`.
    texts: output of DescribePictures; None for a model that reads no picture texts.

    Raises DataError if the pyramids are not of the kind that the model was trained on.
    """
    evaluation = Evaluation.open(model_folder, posts_folder, files, texts)
    model = evaluation.saved.load()
    pictures = evaluation.pictures
    results = evaluation.predict(folder, model, pictures, device, precision, evaluation.texts)
    saved, posts = evaluation.saved, evaluation.posts
    if files is not None:
        about |= about_pictures(files)
    if texts is not None:
        about |= about_texts(texts)
    about |= about_labels(about.get("dataset"), posts)
    counts = {
        "posts": {name: len(chosen) for name, chosen in evaluation.splits.items()},
        "labelled": {name: len(saved.head.numbered(posts, name)) for name in SCORED},
    }
    write_json(
        folder / "metrics.json",
        {**about, "task": saved.head.name, **results, **counts, "model": saved.config.to_dict()},
    )


@dataclass(frozen=True)
class Evaluation:
    """A saved model without its weights, and the posts of val and test, checked and encoded.

    posts: of the whole data set, by number.
    pictures: None for a text-only model.
    texts: None for a model that reads no picture texts.
    splits: split -> number -> post.
    encoded: split -> the posts that fit into the model, without picture texts.
    """

    saved: SavedModel
    posts: Sequence[Post]
    pictures: StoredPyramids | None
    texts: StoredTexts | None
    splits: Mapping[str, Mapping[int, Post]]
    encoded: Mapping[str, list[Encoded]]

    @classmethod
    def open(
        cls,
        model_folder: Path,
        posts_folder: Path,
        files: PictureFiles | None,
        texts_folder: Path | None = None,
    ) -> "Evaluation":
        """Open a model and a data set. Raises DataError as `evaluate_into` does."""
        quiet_transformers()
        saved = SavedModel.open(model_folder)
        head, tokenizer = saved.head, saved.tokenizer
        pictures = None
        if files is not None:
            pictures = StoredPyramids.open(files.extraction, files.pyramids)
            check_pyramids(saved.config, pictures, model_folder)
        texts = None
        if texts_folder is not None:
            texts = StoredTexts.open(texts_folder)
            warn_of_texts(saved.config, texts.made_by, model_folder)
        posts = load_posts(posts_folder)
        check_evaluation(head.name, posts, model_folder)
        check_labels(head.name, posts, model_folder)
        splits = {name: head.readable(posts, name) for name in SCORED}
        encoded = {name: saved.encode(chosen) for name, chosen in splits.items()}
        held = [post for chosen in splits.values() for post in chosen.values()]
        log_unknown(*unknown_words(held, tokenizer), "val and test")
        log_shortened(splits, encoded, saved.longest)
        return cls(saved, posts, pictures, texts, splits, encoded)

    def predict(
        self,
        folder: Path,
        model: System,
        pictures: StoredPyramids | None,
        device: str,
        precision: str,
        texts: Texts | None = None,
    ) -> dict[str, Any]:
        """Write `folder/predictions.jsonl` and return the figures of each split.

        pictures, texts: those to predict with; controls give others than the posts' own.
        """
        saved = self.saved
        evaluator = make_evaluator(model, saved.collator(pictures), folder, device, precision)
        encoded = {name: saved.with_texts(own, texts) for name, own in self.encoded.items()}
        results = predict_into(
            folder, saved.head, evaluator, model, self.splits, encoded, saved.labels
        )
        shutil.rmtree(folder / CHECKPOINTS)  # made by the Trainer, empty
        return results
