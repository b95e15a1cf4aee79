"""A saved model on a data set: predictions and scores, without training."""

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transformers

from model.config import ExtractorConfig
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
    """The evaluation stage: `predictions.jsonl` and `metrics.json` of val and test into `folder`.

    Posts without labels are predicted too, and not scored.
    model_folder: as training or ImportReleased wrote it. files: None for a text-only model.
    Raises DataError where the pyramids are not of the kind that the model was trained on.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
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
    shutil.rmtree(folder / CHECKPOINTS)  # the Trainer makes it, empty
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
    """Rows made in another way would be read without a complaint, and mean nothing.

    Raises DataError, but where only `resize` or `precision` differ: then they mean nearly the same,
    and a warning does.
    """
    # A setting younger than the model had its default when the model was trained.
    expected = asdict(ExtractConfig()) | config.pyramids if config.pyramids else {}
    found = pictures.made_by
    differ = sorted(name for name in found if expected.get(name) != found[name])
    if not differ:
        return
    told = (
        f"{model_folder}: expected pyramids with "
        + ", ".join(f"{name} {expected.get(name)}" for name in differ)
        + "; found "
        + ", ".join(f"{name} {found[name]}" for name in differ)
    )
    if set(differ) <= NEARLY_THE_SAME:
        log.warning("%s", told)
        return
    options = ", ".join(f"--ExtractPyramid-{name}" for name in differ)
    raise DataError(f"{told}; extract them with {options}")
