"""Evaluate a saved model on a data set: predictions and scores, without training."""

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.config import ExtractorConfig
from model.encoder import quiet_transformers
from pipeline.corpus.label_version import about_labels
from pipeline.corpus.posts import load_posts
from pipeline.engine.files import write_json
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig, PictureFiles
from pipeline.training.batches import Collator, Pictures
from pipeline.training.encode import unknown_words
from pipeline.training.heads import SCORED, log_shortened, predict_into
from pipeline.training.possible import NEARLY_THE_SAME, check_evaluation, check_labels
from pipeline.training.saved import SavedModel
from pipeline.training.train import about_pictures, open_pictures
from pipeline.training.trainer import CHECKPOINTS, make_evaluator
from pipeline.training.vocabulary import log_unknown

log = logging.getLogger(__name__)


def evaluate_into(
    folder: Path,
    model_folder: Path,
    posts_folder: Path,
    files: PictureFiles | None,
    device: str,
    precision: str,
    about: dict[str, Any],
) -> None:
    """Run the evaluation stage: write `predictions.jsonl` and `metrics.json` of val and test.

    Posts without labels are predicted but not scored.

    model_folder: written by training or ImportReleased.
    posts_folder: output of ReadPosts.
    files: the folders of pyramids; None for a text-only model.
    about: further entries of `metrics.json`.

    Raises DataError if the pyramids are not of the kind that the model was trained on.
    """
    quiet_transformers()
    saved = SavedModel.open(model_folder)
    head, tokenizer = saved.head, saved.tokenizer
    pictures = open_pictures(files, finetune=False)
    if pictures is not None:
        check_pyramids(saved.config, pictures, model_folder)
    posts = load_posts(posts_folder)
    check_evaluation(head.name, posts, model_folder)
    check_labels(head.name, posts, model_folder)
    splits = {name: head.readable(posts, name) for name in SCORED}
    encoded = {
        name: head.encode(chosen, tokenizer, saved.labels, saved.longest, saved.config.style)
        for name, chosen in splits.items()
    }
    held = [post for chosen in splits.values() for post in chosen.values()]
    log_unknown(*unknown_words(held, tokenizer), "val and test")
    log_shortened(splits, encoded, saved.longest)
    model = saved.load()
    evaluator = make_evaluator(
        model,
        Collator(tokenizer.pad_token_id, head.collate, pictures),
        folder,
        device,
        precision,
    )
    results = predict_into(folder, head, evaluator, model, splits, encoded, saved.labels)
    shutil.rmtree(folder / CHECKPOINTS)  # made by the Trainer, empty
    if files is not None:
        about |= about_pictures(files)
    about |= about_labels(about.get("dataset"), posts)
    counts = {
        "posts": {name: len(chosen) for name, chosen in splits.items()},
        "labelled": {name: len(head.numbered(posts, name)) for name in SCORED},
    }
    write_json(
        folder / "metrics.json",
        {**about, "task": head.name, **results, **counts, "model": saved.config.to_dict()},
    )


def check_pyramids(config: ExtractorConfig, pictures: Pictures, model_folder: Path) -> None:
    """Raise DataError if pyramids are not made like those that the model was trained on.

    Their shapes may be equal, so nothing else would detect it. If only `resize` or `precision`
    differ, the rows are nearly the same: this logs a warning.
    """
    # A model older than a setting was trained with the setting's default.
    expected = asdict(ExtractConfig()) | config.pyramids if config.pyramids else {}
    made_by = pictures.made_by
    differ = sorted(name for name in made_by if expected.get(name) != made_by[name])
    if not differ:
        return
    message = (
        f"{model_folder}: expected pyramids with "
        + ", ".join(f"{name} {expected.get(name)}" for name in differ)
        + "; found "
        + ", ".join(f"{name} {made_by[name]}" for name in differ)
    )
    if set(differ) <= NEARLY_THE_SAME:
        log.warning("%s", message)
        return
    options = ", ".join(f"--ExtractPyramid-{name}" for name in differ)
    raise DataError(f"{message}; extract them with {options}")
