"""Training of both tasks with transformers' Trainer, and scoring of val and test."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transformers
from transformers import EvalPrediction, PreTrainedTokenizerBase, Trainer

from model.contract import System
from model.encoder import quiet_transformers
from model.systems import declared, encoding_style
from pipeline.corpus.label_version import about_labels
from pipeline.corpus.post import SPLITS, Post
from pipeline.corpus.posts import load_labels, load_posts
from pipeline.corpus.shuffle import shuffled
from pipeline.description.texts import StoredTexts
from pipeline.engine.files import need_space, read_json, settle, size_of, write_json
from pipeline.errors import DataError
from pipeline.extraction.config import PictureFiles
from pipeline.extraction.index import StoredPyramids
from pipeline.training.batches import Pictures
from pipeline.training.build import build
from pipeline.training.build_words import build_words
from pipeline.training.config import MOST_UNKNOWN, TrainConfig
from pipeline.training.encode import Encoded, save_tokenizer
from pipeline.training.finetune import FineTuned, Pixels
from pipeline.training.head_of import HEADS
from pipeline.training.heads import Head, log_shortened, predict_into
from pipeline.training.inputs import collator, encode, with_texts
from pipeline.training.knowledge import log_texts
from pipeline.training.possible import check_training, model_folder
from pipeline.training.reporting import TENSORBOARD, write_final
from pipeline.training.shares import draw
from pipeline.training.start import Start
from pipeline.training.trainer import CHECKPOINTS, RANK, last_checkpoint, make_trainer
from pipeline.training.vocabulary import check_words

METRICS = "metrics.json"  # written last: it marks a complete run
log = logging.getLogger(__name__)


def train_into(
    folder: Path,
    task: str,
    posts_folder: Path,
    config: TrainConfig,
    files: PictureFiles | None,
    device: str,
    about: dict[str, Any],
    max_unknown: float = MOST_UNKNOWN,
    report_to: Sequence[str] = (),
    texts: Path | None = None,
) -> None:
    """Run the training stage: read posts and labels, train, write everything into `folder`.

    task: "re" or "ner".
    posts_folder: output of ReadPosts.
    files: the folders of pyramids; None for a text-only run.
    about: further entries of `metrics.json`, such as fingerprints and versions.
    max_unknown: largest share of the training posts' words that the tokenizer may not know.
    report_to: names of trackers beside TensorBoard; see `check_trackers`.
    texts: output of DescribePictures; None: the model reads no picture texts.
    """
    if (folder / METRICS).exists():  # a run was killed while it removed its checkpoints
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        return
    if files is not None:  # recorded, as scores with other crops are not comparable
        about |= about_pictures(files)
    if texts is not None:
        about |= about_texts(texts)
    posts = load_posts(posts_folder)
    about |= about_labels(about.get("dataset"), posts)
    results = train(
        HEADS[task],
        posts,
        load_labels(posts_folder, task),
        config,
        open_pictures(files, config.finetune_backbone),
        folder,
        device,
        max_unknown,
        report_to,
        None if texts is None else StoredTexts.open(texts),
    )
    settle(folder)
    write_json(folder / METRICS, {**about, **results})
    shutil.rmtree(folder / CHECKPOINTS)


def about_pictures(files: PictureFiles) -> dict[str, Any]:
    """Return the number of pictures, and of regions from each grounder, for `metrics.json`."""
    return {
        "crops": read_json(files.grounding / "report.json")["regions_by_grounder"],
        "pictures": read_json(files.extraction / "report.json")["pictures"],
    }


def about_texts(texts: Path) -> dict[str, Any]:
    """Return what the pictures' texts are and how many there are, for `metrics.json`."""
    report = read_json(texts / "report.json")
    counts = {name: n for name, n in report.items() if isinstance(n, int)}  # no lists of pictures
    return {"texts": StoredTexts.open(texts).made_by | counts}


def open_pictures(files: PictureFiles | None, finetune: bool) -> Pictures | None:
    """Open the stored pyramids, or the pixels to fine-tune the backbone; None without pictures."""
    if files is None:
        return None
    stored = StoredPyramids.open(files.extraction, files.pyramids)
    return Pixels.open(files, stored) if finetune else stored


def train(
    head: Head,
    posts: Sequence[Post],
    labels: Sequence[str],
    config: TrainConfig,
    pictures: Pictures | None,
    folder: Path,
    device: str = "auto",
    max_unknown: float = MOST_UNKNOWN,
    report_to: Sequence[str] = (),
    texts: StoredTexts | None = None,
) -> dict[str, Any]:
    """Train on train, keep the epoch that is best on val, score it on val and test.

    Writes into `folder`: `model/` (a Hugging Face folder, with `backbone.safetensors` if the
    backbone was fine-tuned), `predictions.jsonl`, `tensorboard/`, and the checkpoints. Resumes from
    the last checkpoint of a killed run. Returns the figures.

    labels: the data set's labels, in the order of their numbers.
    pictures: `StoredPyramids`, `Pixels` to fine-tune the backbone, or None for text-only.
    max_unknown: largest share of the training posts' words that the tokenizer may not know.
    report_to: names of trackers beside TensorBoard.
    texts: the texts of the posts' pictures; None: the model reads none.

    Raises DataError, SettingError.
    """
    quiet_transformers()
    transformers.set_seed(config.seed)
    check_training(head.name, posts)
    splits = {name: head.numbered(posts, name) for name in SPLITS}
    labelled = splits["train"]
    drawn = _drawn(head, labelled, config)
    splits["train"] = {number: labelled[number] for number in drawn}
    style = encoding_style(head.name, config.system, config.style)
    labels = head.labels(labels, style)
    start = _start(config, pictures)
    made_by = None if texts is None else _made_by(texts, config)
    own = None if texts is None else _own_or_shuffled(texts, posts, config)
    model: System | FineTuned
    about: dict[str, Any] = {}
    if declared(config.system).reads_words:
        tokenizer, model, about["words"] = build_words(head, splits, labels, config, own, made_by)
    else:
        training = splits["train"].values()
        tokenizer, model = build(head, training, labels, config, pictures, start, made_by)
        if start is not None:
            about["start"] = start.report(_extractor(model))
        name = config.encoder_name
        about["unknown_words"] = check_words(training, tokenizer, max_unknown, name)
    made = _extractor(model).config
    encoded = {
        name: encode(head, chosen, tokenizer, labels, config.max_tokens, made)
        for name, chosen in splits.items()
    }
    log_shortened(splits, encoded, config.max_tokens)
    for needed in ("train", "val"):
        if not encoded[needed]:
            raise DataError(
                f"expected posts of split {needed!r} that fit into --max-tokens "
                f"{config.max_tokens}, found none of {len(splits[needed])}"
            )
    _log_unseen_words(encoded)
    if own is not None:
        encoded = {
            name: with_texts(chosen, own, tokenizer, made) for name, chosen in encoded.items()
        }
        log_texts(encoded, config.knowledge_tokens)
    by_number = {post.number: post for post in encoded["train"]}
    encoded["train"] = [by_number[number] for number in drawn if number in by_number]
    trainer = make_trainer(
        model,
        encoded,
        collator(head, tokenizer, made, pictures),
        config,
        folder,
        device,
        report_to,
    )
    need_space(folder, _space(model) - size_of(folder), "this training, with its checkpoints,")
    gold = [head.gold(post) for post in splits["val"].values()]

    def figures(answers: EvalPrediction) -> dict[str, float]:
        predicted = head.read_all(answers.predictions, encoded["val"], splits["val"], labels)
        scores = _figures(head.scores(gold, predicted))
        # The latest of equally good epochs wins, as in the published scripts.
        return {**scores, RANK: scores["f1"] + 1e-9 * round(trainer.state.epoch)}

    trainer.compute_metrics = figures
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    trainer.compute_metrics = None
    epochs = _epochs(trainer)
    results = predict_into(folder, head, trainer, _extractor(model), splits, encoded, labels)
    _save(model, tokenizer, config, folder / "model")
    write_final(folder / TENSORBOARD, results, asdict(config), trainer.state.global_step)
    return {
        "epochs": epochs,
        "best_epoch": _best_epoch(epochs),
        **results,
        "posts": {name: len(chosen) for name, chosen in splits.items()} | {"train": len(drawn)},
        "training_posts": {
            "labelled": len(labelled),
            "drawn": len(drawn),
            "distinct": len(splits["train"]),
        },
        **about,
        "encoder_revision": _revision(model),
        "config": asdict(config),
    }


def _made_by(texts: StoredTexts, config: TrainConfig) -> dict[str, Any]:
    """Return how the texts are made, for the model's configuration."""
    return {**texts.made_by, **({"shuffled": True} if config.shuffle_knowledge else {})}


def _own_or_shuffled(texts: StoredTexts, posts: Sequence[Post], config: TrainConfig) -> StoredTexts:
    """Return the texts to train with: with `shuffle_knowledge` another post's of the same split."""
    if not config.shuffle_knowledge:
        return texts
    owners = [*range(len(posts))]
    for split in SPLITS:
        chosen = {number: post for number, post in enumerate(posts) if post.split == split}
        for number, owner in zip(chosen, shuffled(chosen, texts.there, config.seed), strict=True):
            owners[number] = owner
    return texts.of_others(owners)


def _start(config: TrainConfig, pictures: Pictures | None) -> Start | None:
    """Load the model that the run starts from, if any."""
    if config.start_from is None:
        return None
    return Start.open(model_folder("--start-from", config.start_from), pictures)


def _drawn(head: Head, posts: Mapping[int, Post], config: TrainConfig) -> list[int]:
    """Return the numbers of the posts to train on, sorted; one drawn twice is there twice."""
    seed = config.seed if config.train_seed is None else config.train_seed
    classes = {number: head.classes(post) for number, post in posts.items()}
    drawn = sorted(draw(classes, config.train_share, seed, config.with_replacement))
    if config.draws:
        log.info(
            "training on %d of %d posts, %d of them distinct (drawn with seed %d)",
            len(drawn),
            len(posts),
            len({*drawn}),
            seed,
        )
    return drawn


def _space(model: System | FineTuned) -> int:
    """Return the bytes of the model and three checkpoints: weights and AdamW's two moments each."""
    size = sum(weight.nbytes for weight in model.parameters())
    return size * (1 + 3 * 3)


def _extractor(model: System | FineTuned) -> System:
    return model.extractor if isinstance(model, FineTuned) else model


def _revision(model: System | FineTuned) -> str | None:
    """Return the hub's commit of a downloaded encoder; None without one."""
    encoder = getattr(_extractor(model), "encoder", None)
    return None if encoder is None else getattr(encoder.config, "_commit_hash", None)


def _log_unseen_words(encoded: Mapping[str, list[Encoded]]) -> None:
    """Log how many words have no token in the model, although they get a tag."""
    for name, posts in encoded.items():
        unseen = sum(token < 0 for post in posts for token in post.words)
        total = sum(len(post.words) for post in posts)
        if unseen:
            log.info(
                "%s: %d of %d words have no word piece or exceed the longest text: tagged O",
                name,
                unseen,
                total,
            )


def _figures(scores: dict[str, Any]) -> dict[str, float]:
    return {name: scores[name] for name in ("precision", "recall", "f1")}


def _epochs(trainer: Trainer) -> list[dict[str, float]]:
    """Return the figures on val of each epoch, from the Trainer's log."""
    return [
        {
            "epoch": round(entry["epoch"]),
            **{name: entry[f"eval_{name}"] for name in ("loss", "precision", "recall", "f1")},
        }
        for entry in trainer.state.log_history
        if "eval_f1" in entry
    ]


def _best_epoch(epochs: list[dict[str, float]]) -> int:
    """Return the epoch that the Trainer keeps: the best one, the latest of equals."""
    return int(max(epochs, key=lambda entry: (entry["f1"], entry["epoch"]))["epoch"])


def _save(
    model: System | FineTuned,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainConfig,
    folder: Path,
) -> None:
    """Write the model as a Hugging Face folder with everything that evaluation needs."""
    if isinstance(model, FineTuned):
        model.save_backbone(folder)
    _extractor(model).save_pretrained(folder)
    tokenizer.model_max_length = config.max_tokens
    save_tokenizer(tokenizer, folder)
