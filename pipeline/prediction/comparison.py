"""Compare two sets of models on a few posts that show where they differ.

If a post has head and tail, the relation between these is predicted, as in the scores of training.
Otherwise relations are predicted between the predicted entities.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model.encoder import quiet_transformers
from pipeline.corpus.post import Post
from pipeline.corpus.records import Entity
from pipeline.description.texts import StoredTexts
from pipeline.errors import DataError
from pipeline.extraction.config import PictureFiles
from pipeline.prediction.comparison_page import Answers, Compared, Side, comparison_page
from pipeline.prediction.extractor import Extractor, Options
from pipeline.prediction.gold import Gold, gold_of
from pipeline.prediction.posts import posts_to_predict, record_of
from pipeline.prediction.prediction import Prediction
from pipeline.prediction.records import Record
from pipeline.prediction.stored import StoredPictures, make_extractor, open_pictures
from pipeline.training.results import precision_of
from pipeline.training.saved import SavedModel

ALIKE = 3  # largest number of posts of one sentence that are shown
TASKS = ("entities", "relations")

Models = Mapping[str, Path]  # of TASKS -> the folder of a saved model
# For each of TASKS: 1 if only the first models are right, -1 if only the others are, else 0.
Gain = tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """The models to compare, and the posts to compare them on.

    sides: one or two sets of models for the same tasks; the first set's predictions are explained.
    root: the data root.
    files: stored pyramids and pictures; None if no model looks at pictures.
    device: auto, cpu or cuda.
    split: the posts' split.
    most: largest number of posts on the page.
    texts: output of DescribePictures; None if no model reads picture texts.
    """

    sides: Sequence[Models]
    root: Path
    files: PictureFiles | None
    device: str
    split: str
    most: int
    texts: Path | None = None


def show_comparison(posts: Sequence[Post], run: Comparison, title: str, page: Path) -> None:
    """Predict a split with each set of models, and write a page of posts where they differ.

    posts: the posts of all splits. Raises DataError if none of the split can be predicted.
    """
    quiet_transformers()
    tasks = [task for task in TASKS if task in run.sides[0]]
    numbers = range(len(posts)) if "entities" in tasks else posts_to_predict(posts, False)
    asked = {number: posts[number] for number in numbers if posts[number].split == run.split}
    if not asked:
        raise DataError(
            f"--split {run.split}: expected posts that the models can predict, found none; give "
            "the name of another split"
        )
    saved = [[SavedModel.open(folder) for folder in models.values()] for models in run.sides]
    opened = [model for models in saved for model in models]
    pictures = None if run.files is None else open_pictures(run.files, opened)
    extractors = [_extractor(models, run.device, pictures) for models in saved]
    names = _names(saved)
    texts = None if run.texts is None else StoredTexts.open(run.texts)
    answers = [
        _predict(extractor, asked, run.root, texts, name, explain=False)
        for extractor, name in zip(extractors, names, strict=True)
    ]
    compared = {
        number: Compared(post.id, gold_of(post), [side[number] for side in answers])
        for number, post in asked.items()
    }
    gains = [_gain(post.gold, post.answers, tasks) for post in compared.values()]
    chosen = choose_posts(gains, [post.tokens for post in asked.values()], run.most)
    shown = {number: asked[number] for number in (list(asked)[place] for place in chosen)}
    again = "again, to explain"
    explained = _predict(extractors[0], shown, run.root, texts, again, explain=True)
    sides = [
        Side(name, [_run_of(folder) for folder in models.values()])
        for name, models in zip(names, run.sides, strict=True)
    ]
    text = comparison_page(title, run.split, sides, tasks, compared, explained)
    page.write_text(text, encoding="utf-8")


def _extractor(
    saved: Sequence[SavedModel], device: str, pictures: StoredPictures | None
) -> Extractor:
    precisions = [precision_of(model.folder) for model in saved]
    return make_extractor(saved, precisions, device, pictures)


def _names(saved: Sequence[Sequence[SavedModel]]) -> list[str]:
    """Name each set of models by whether it looks at pictures or reads their texts."""
    names = []
    for models in saved:
        looks = not all(model.is_text_only for model in models)
        reads = any(model.reads_texts for model in models)
        inputs = ["pictures"] * looks + ["picture texts"] * reads
        names.append(f"with {' and '.join(inputs)}" if inputs else "without pictures")
    if len(names) == 2 and names[0] == names[1]:
        return [f"--model ({names[0]})", f"--beside ({names[1]})"]
    return names


def _run_of(model: Path) -> str:
    """Return the name of a saved model on pages: its stage and its run."""
    folder = model.parent if model.name == "model" else model
    return f"{folder.parent.name}/{folder.name}"


def _predict(
    extractor: Extractor,
    posts: Mapping[int, Post],
    root: Path,
    texts: StoredTexts | None,
    name: str,
    explain: bool,
) -> dict[int, Answers]:
    """Predict posts; the answers are keyed by post number. name: the models' name on the bar."""
    answers: dict[int, dict[str, Prediction]] = {number: {} for number in posts}

    def record(number: int, finds_entities: bool) -> Record:
        return record_of(number, posts[number], root.absolute(), finds_entities, texts)

    def ask(task: str, alone: Extractor, records: Mapping[int, Record]) -> None:
        predictions = alone.stream(records.values(), Options(explain=explain and alone.explains))
        bar = tqdm(predictions, f"{task} {name}", len(records), unit="post", disable=None)
        for number, prediction in zip(records, bar, strict=True):
            answers[number][task] = prediction

    if extractor.entities is not None:
        records = {n: record(n, True) for n in posts}
        ask("entities", Extractor(extractor.entities, None), records)
    if extractor.relations is not None:
        questions = {n: _question(record(n, False), answers[n].get("entities")) for n in posts}
        records = {n: question for n, question in questions.items() if question is not None}
        ask("relations", Extractor(None, extractor.relations), records)
    return {**answers}


def _question(record: Record, tagged: Prediction | None) -> Record | None:
    """Return the record to ask a relation model about; None if it has neither pair nor entities.

    tagged: the prediction of the record's entities, used if it has no head and tail.
    """
    if record.pair is None and tagged is not None:
        entities = (Entity(e.start, e.end, e.label) for e in tagged.entities)
        return replace(record, entities=tuple(entities))
    return None if record.pair is None and record.entities is None else record


def _gain(gold: Gold, answers: Sequence[Answers], tasks: Sequence[str]) -> Gain:
    """Return the gain of the first models; with one set of models, 1 if it is right, else -1."""
    gains = {"entities": 0, "relations": 0}
    for task in tasks:
        rights = [gold.is_right(task, side.get(task)) for side in answers]
        if None not in rights:
            first, *others = map(int, map(bool, rights))
            gains[task] = first - others[0] if others else 2 * first - 1
    return gains["entities"], gains["relations"]


def choose_posts(gains: Sequence[Gain], sentences: Sequence[Hashable], most: int) -> list[int]:
    """Choose posts that show where models differ; posts of one sentence stay together.

    Sentences are grouped by the signs of their two gains (entities, relations). They are taken from
    the groups in turn, from gains to losses, those without a difference last; in each group, those
    that differ most come first. Returns at most `most` post numbers.
    """
    alike: dict[Hashable, list[int]] = defaultdict(list)
    for number, sentence in enumerate(sentences):
        alike[sentence].append(number)
    kinds: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    for numbers in alike.values():
        entities, relations = np.sum([gains[number] for number in numbers], axis=0)
        kinds[int(np.sign(entities)), int(np.sign(relations))].append(numbers)
    for groups in kinds.values():
        groups.sort(key=lambda numbers: -sum(abs(x) for n in numbers for x in gains[n]))
    order = sorted(kinds, key=lambda kind: (kind == (0, 0), -sum(kind), kind))
    chosen: list[int] = []
    for turn in range(max(map(len, kinds.values()), default=0)):
        for kind in order:
            if turn < len(kinds[kind]):
                chosen += kinds[kind][turn][:ALIKE]
    return chosen[:most]
