"""Controls: a trained model's scores with pictures of other posts, and without any.

A model that uses its pictures loses F1 in both. Nothing is trained: the stored rows or texts are
read in another order, or left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus.post import Post
from pipeline.corpus.shuffle import shuffled
from pipeline.description.texts import StoredTexts
from pipeline.engine.files import write_json
from pipeline.experiments.runs import NO_PICTURE, NO_TEXT, SHUFFLED, SHUFFLED_TEXT
from pipeline.extraction.config import PictureFiles
from pipeline.extraction.index import StoredPyramids
from pipeline.training.evaluate import Evaluation

WHAT = {
    SHUFFLED: "with other posts' pictures",
    NO_PICTURE: "without any picture",
    SHUFFLED_TEXT: "with other posts' picture texts",
    NO_TEXT: "without picture texts",
}


def controls_into(
    folder: Path,
    model_folder: Path,
    posts_folder: Path,
    files: PictureFiles | None,
    device: str,
    precision: str,
    seed: int,
    about: Mapping[str, Any],
    texts: Path | None = None,
) -> None:
    """Predict test (val, if test has no labels) under each control, into a folder for each.

    Writes `NAME/predictions.jsonl` and `metrics.json`, whose entry NAME holds the figures of the
    split. NAME: "shuffled" and "no-picture" for a model that reads pyramids; "shuffled-text" and
    "no-text" for one that reads picture texts. The other kind of input, if any, is the post's own.

    posts_folder: output of ReadPosts.
    files: stored pyramids; None for a text-only model.
    seed: of the order of pictures.
    about: further entries of `metrics.json`.
    texts: output of DescribePictures; None for a model that reads no picture texts.

    Raises DataError as `evaluate_into` does.
    """
    opened = Evaluation.open(model_folder, posts_folder, files, texts)
    pictures, own_texts = opened.pictures, opened.texts
    split = "test" if opened.saved.head.numbered(opened.posts, "test") else "val"
    evaluation = replace(opened, splits=_only(opened.splits, split))
    posts = opened.splits[split]
    nobody = [-1] * len(opened.posts)

    def others(there: np.ndarray) -> list[int]:
        owners = np.arange(len(opened.posts))
        owners[[*posts]] = shuffled(posts, there, seed)
        return list(owners.tolist())

    given: dict[str, tuple[StoredPyramids | None, StoredTexts | None]] = {}
    if pictures is not None:
        owners = others(np.any(pictures.there, axis=1))
        given[SHUFFLED] = (pictures.of_others(owners), own_texts)
        given[NO_PICTURE] = (pictures.of_others(nobody), own_texts)
    if own_texts is not None:
        owners = others(own_texts.there)
        given[SHUFFLED_TEXT] = (pictures, own_texts.of_others(owners))
        given[NO_TEXT] = (pictures, own_texts.of_others(nobody))
    model = opened.saved.load()
    scores = {}
    for name, (regions, words) in given.items():
        (folder / name).mkdir()
        results = evaluation.predict(folder / name, model, regions, device, precision, words)
        scores[name] = results[split]
    write_json(folder / "metrics.json", {**about, "split": split, "seed": seed, **scores})


def _only(splits: Mapping[str, Mapping[int, Post]], split: str) -> dict[str, Mapping[int, Post]]:
    return {name: posts if name == split else {} for name, posts in splits.items()}


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the scores under each control as a line to print. metrics: of `controls_into`."""
    scores = ", ".join(
        f"{metrics[name]['f1']:.2f} {what}" for name, what in WHAT.items() if name in metrics
    )
    return [f"{metrics['split']} F1 {scores}"]
