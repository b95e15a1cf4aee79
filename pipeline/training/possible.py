"""Check that a task can be done on a data set's posts, before anything is computed for it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

from model.hvpnet.variants import FLAT, ONE_TO_THREE, TEXT_ONLY
from pipeline.corpus.files import clip
from pipeline.corpus.labels import relation_labels, tag_labels
from pipeline.corpus.post import Post
from pipeline.corpus.posts import check_labels_differ
from pipeline.description.config import FILE
from pipeline.engine.files import read_json
from pipeline.engine.settings import existing
from pipeline.errors import NAMED, DataError, SettingError
from pipeline.extraction.config import ExtractConfig

TASKS = {"RelationExtractor": "re", "EntityTagger": "ner"}  # class of a saved model -> task
PREDICTED = {"ner": "entities", "re": "relations"}  # task -> what its models predict
BESIDE = "put the files that the encoder was published with beside its weights"
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
NEARLY_THE_SAME = {"resize", "precision"}  # settings in which a model's pyramids may differ
_FIXED_GATE = (FLAT, ONE_TO_THREE)  # variants
_OF_PREFIX = ("style", "variant", "block_channels", "grid", "bottleneck")  # decide its shapes
LABELLED = {"re": "a relation", "ner": "tags"}  # task -> its labels, for messages


def is_labelled(task: str, post: Post) -> bool:
    """Return True if a post has the task's labels."""
    return (post.relation if task == "re" else post.tags) is not None


def is_readable(task: str, post: Post) -> bool:
    """Return True if a model of the task can predict a post. A relation needs head and tail."""
    return task == "ner" or (post.head is not None and post.tail is not None)


def repeated(posts: Sequence[Post]) -> set[int]:
    """Return the numbers of posts that repeat a sentence for another of its relations.

    A record with several relations is read as posts `ID#0`, `ID#1`, …; only the first counts for
    entities.
    """
    first = {post.id.removesuffix("#0"): post for post in posts if post.id.endswith("#0")}
    numbers = set()
    for number, post in enumerate(posts):
        base, _, instance = post.id.rpartition("#")
        if instance.isdecimal() and instance != "0" and base in first:
            same = (post.tokens, post.picture) == (first[base].tokens, first[base].picture)
            numbers |= {number} if same else set()
    return numbers


def check_training(task: str, posts: Sequence[Post]) -> None:
    """Raise DataError unless train and val have labelled posts, of at least two labels."""
    for needed in ("train", "val"):
        if not any(post.split == needed and is_labelled(task, post) for post in posts):
            raise DataError(
                f"expected posts with {LABELLED[task]} in split {needed!r} to train on, found none"
            )
    check_labels_differ(task, tag_labels(posts) if task == "ner" else relation_labels(posts))


def check_evaluation(task: str, posts: Sequence[Post], model: Path) -> None:
    """Raise DataError unless val or test has posts that a model of the task can predict."""
    held = [post for post in posts if post.split in ("val", "test")]
    if not held:
        raise DataError("expected posts of split val or test to predict, found none")
    if not any(is_readable(task, post) for post in held):
        raise DataError(
            f"{model}: predicts the relation of a post's head to its tail; expected posts of val "
            f"or test with head and tail, found none among {len(held)}; add head and tail to the "
            "posts, or evaluate a model of TrainNER"
        )


def check_labels(task: str, posts: Sequence[Post], model: Path) -> None:
    """Raise DataError if posts of val or test have labels that the model lacks."""
    known = read_json(model / "config.json").get("id2label") or {}
    for post in posts:
        if post.split == "train" or not is_readable(task, post):
            continue
        given = (post.relation,) if task == "re" else (post.tags or ())
        unknown = [label for label in given if label is not None and label not in known.values()]
        if unknown and known:
            hint = f"; if it means no relation, give --ReadPosts-none-label {quote(unknown[0])}"
            raise DataError(
                f"{model}: expected labels that the model has ({_listed([*known.values()])}), "
                f"found {clip(unknown[0])} in post {clip(post.id)}{hint if task == 're' else ''}; "
                "rename the labels, or leave them out of val and test to predict without scores"
            )


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - NAMED} more" if labels[NAMED:] else ""
    return ", ".join(labels[:NAMED]) + more


def check_tokenizer_files(folder: Path, advice: str) -> None:
    """Raise DataError if a model's folder has no tokenizer file at all.

    `load_tokenizer` checks for the files that the tokenizer's class needs. advice: ends the
    message.
    """
    names = {path.name for path in folder.glob("*") if path.is_file()}
    if names.isdisjoint(_VOCABULARIES) and not any(name.endswith(".model") for name in names):
        raise DataError(
            f"{folder}: the tokenizer's files are missing: expected tokenizer.json or vocab.txt; "
            f"{advice}"
        )


def check_same_pyramids(models: Sequence[Path]) -> None:
    """Raise SettingError if saved models need pyramids that a single extraction can't make."""
    kinds = {model: read_json(model / "config.json").get("pyramids") for model in models}
    known = {model: asdict(ExtractConfig()) | kind for model, kind in kinds.items() if kind}
    for (model, kind), (other, other_kind) in pairwise(known.items()):
        differ = sorted(
            n for n in kind if kind[n] != other_kind.get(n) and n not in NEARLY_THE_SAME
        )
        if differ:
            raise SettingError(
                "--model: expected models that were trained on pyramids of one kind, found "
                f"{model} ({', '.join(f'{name} {kind[name]}' for name in differ)}) and "
                f"{other} ({', '.join(f'{name} {other_kind.get(name)}' for name in differ)}); "
                "predict with each alone, or train one of them again"
            )


def check_texts_chosen(model: Path, is_chosen: bool) -> None:
    """Raise SettingError if a model reads texts from files, and none are given to evaluate it.

    is_chosen: True if the texts to read are named or configured.
    """
    texts = read_json(model / "config.json").get("texts") or {}
    if texts.get("describer") == FILE and not is_chosen:
        raise SettingError(
            f"{model}: was trained on picture texts from files ({', '.join(texts['files'])}); "
            "expected those of this data set, found none; give them with --knowledge-from F1,F2"
        )


def check_start(model: Path, config: Mapping[str, Any]) -> None:
    """Raise DataError or SettingError unless a training can start from a saved model.

    Reads the model's small files only, so that it fails before pictures are read.

    config: settings of the training, by the names of TrainConfig.
    """
    task_of(model)
    saved = read_json(model / "config.json")
    check_encoder(model, saved)
    check_tokenizer_files(model, "make the model again")
    check_prefix(model, saved, config)


def check_encoder(model: Path, saved: Mapping[str, Any]) -> None:
    """Raise SettingError unless a saved model has a text encoder to start from.

    saved: its settings, by the names of ExtractorConfig.
    """
    if not saved.get("encoder"):
        raise SettingError(
            f"--start-from {model}: expected a model with a text encoder, found one of system "
            f"{saved.get('system')}, which reads words; start from another run"
        )


def check_prefix(model: Path, saved: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise SettingError unless a training can take over a saved model's prefix, if both have one.

    Variants may differ if both train the gate, or neither does.

    saved, config: settings of the saved model and of the training, by the names of ExtractorConfig;
        a setting that either lacks is not compared.
    """
    if TEXT_ONLY in (saved["variant"], config["variant"]):
        return
    differ = [
        name
        for name in _OF_PREFIX
        if name in saved and name in config and _other_shape(name, saved[name], config[name])
    ]
    if differ:
        raise SettingError(
            f"--start-from {model}: expected a model whose prefix has "
            f"{', '.join(f'{name} {config[name]}' for name in differ)}, as this training's; found "
            f"{', '.join(f'{name} {saved[name]}' for name in differ)}; give both the same, or "
            "start from a text-only model to train a new prefix"
        )


def _other_shape(name: str, value: Any, other: Any) -> bool:
    if name == "variant":
        return (value in _FIXED_GATE) != (other in _FIXED_GATE)
    return bool(value != other)


def model_folder(option: str, named: str) -> Path:
    """Return the model folder that an option names; it may name the run that made the model.

    Raises DataError if nothing is there.
    """
    folder = existing(option, named)
    return folder / "model" if (folder / "model").is_dir() else folder


def task_of(model: Path) -> str:
    """Return the task of a saved model: "re" or "ner". Raises DataError."""
    try:
        names = read_json(model / "config.json").get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{model}: expected a model folder made by training or ImportReleased, found no "
            "config.json"
        ) from error
    for name in names:
        if name in TASKS:
            return TASKS[name]
    raise DataError(
        f"{model}: expected a model of class {' or '.join(TASKS)}, found "
        f"{', '.join(map(str, names)) or 'no class'} in config.json"
    )
