"""Does a grounder find what the text names? Against boxes that people drew around entities."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.grounding import Candidate
from features.grounding.select import Rule, choose, iou, usable
from features.pictures import Box, PictureError, picture_size
from model.hvpnet.variants import RELEASED
from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post
from pipeline.engine.files import write_json
from pipeline.errors import DataError
from pipeline.grounding.config import NONE, SALIENCE, GroundConfig
from pipeline.grounding.crops import Grounded
from pipeline.grounding.finder import Answer, Finder, Question
from pipeline.grounding.noun_phrases import clean
from pipeline.grounding.voc import Annotation, read_voc, same_name

IOU = 0.5  # from which on a box is right
SIDES = np.arange(1, 21) / 20  # of the picture's, that centred boxes are tried with


@dataclass(frozen=True)
class Entity:
    """A name in a post. `boxes` are where people saw it in the picture; none: it isn't there."""

    post: int
    name: str
    type: str | None
    size: tuple[int, int]  # width and height of the picture
    boxes: tuple[Box, ...]


@dataclass
class Gold:
    """All entities of annotated posts, and what was passed over, by reason."""

    entities: list[Entity]
    passed_over: Counter[str]


def read_gold(posts: Sequence[Post], root: Path, folder: Path) -> Gold:
    """Entities of the posts in whose picture somebody drew boxes.

    folder: holds a file `<the picture's name without suffix>.xml` each, itself or a folder in it
    named as the picture's (`train`, …). Posts with the same picture and sentence count once. An
    entity is grounded where the file has boxes under its name. Entities are the tagged ones, head
    and tail, or, of posts with neither, the file's names. Raises DataError where nothing fits.
    """
    gold = Gold([], Counter())
    names = Counter(Path(p).stem for p in {post.picture for post in posts if post.picture})
    seen: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for number, post in enumerate(posts):
        if post.picture is not None:
            seen.setdefault((post.picture, post.tokens), []).append(number)
    for (picture, _), numbers in seen.items():
        file = _file(folder, Path(picture), names)
        if file is None:
            gold.passed_over["picture without a file"] += 1
            continue
        annotation = read_voc(file)
        gold.passed_over["box that is none"] += annotation.faults
        try:
            size = picture_size(root / picture)
        except PictureError:
            gold.passed_over["picture that can't be used"] += 1
            continue
        if annotation.size not in (None, size):
            gold.passed_over["picture of another size"] += 1
            continue
        found = _entities([posts[n] for n in numbers], numbers[0], size, annotation)
        gold.entities += found
        known = {same_name(entity.name) for entity in found}
        gold.passed_over["name of no entity"] += sum(
            same_name(n) not in known for n in annotation.boxes
        )
    if not any(entity.boxes for entity in gold.entities):
        raise DataError(
            f"{folder}: expected XML files with boxes of the posts' entities, named as the pictures"
            f" are, found none that fit ({_told(gold.passed_over)})"
        )
    return gold


def _file(folder: Path, picture: Path, names: Mapping[str, int]) -> Path | None:
    """A picture's file. Raises DataError where it could be another picture's as well."""
    within, beside = (
        place / f"{picture.stem}.xml" for place in (folder / picture.parent.name, folder)
    )
    if within.is_file():
        return within
    if beside.is_file() and names[picture.stem] > 1:
        raise DataError(
            f"{beside}: expected one picture of that name, found {names[picture.stem]}; put the "
            f"files into folders named as the pictures' are ({within.parent}, …), or give --split"
        )
    return beside if beside.is_file() else None


def _entities(
    posts: Sequence[Post], number: int, size: tuple[int, int], annotation: Annotation
) -> list[Entity]:
    """Of posts with one picture and sentence, the first of which has that number."""
    tokens = posts[0].tokens
    spans: list[tuple[str | None, int, int]] = []
    for post in posts:
        spans += [(None, *span) for span in (post.head, post.tail) if span is not None]
        spans += entities_of(post.tags or ())
    named = [(" ".join(tokens[start:end]), kind) for kind, start, end in spans]
    if not named and all(post.tags is None for post in posts):
        named = [(name, None) for name in annotation.boxes]
    boxes = {same_name(name): its for name, its in annotation.boxes.items()}
    return [
        Entity(number, name, kind, size, boxes.get(same_name(name), ()))
        for name, kind in dict.fromkeys(named)
    ]


def evaluate_grounding(
    posts: Sequence[Post],
    grounded: Sequence[Grounded],
    root: Path,
    boxes: Path,
    config: GroundConfig,
    finder: Callable[[str], Finder],
    about: dict[str, Any],
    folder: Path,
) -> None:
    """The stage: `metrics.json` and `predictions.jsonl`, a line an entity, into `folder`.

    grounded: GroundCrops's lines of the same posts. boxes: the folder of XML files.
    """
    gold = read_gold(posts, root, boxes)
    crops = [_boxes_of(grounded[entity.post]) for entity in gold.entities]
    rows = _trivial(gold.entities)
    # Crops are a post's, not an entity's: one that isn't in the picture has some all the same.
    # Released ones have no boxes to compare.
    boxed = [(e, its) for e, its in zip(gold.entities, crops, strict=True) if its is not None]
    any_crop = score([entity for entity, _ in boxed], [its for _, its in boxed])
    rows["any of the post's crops"] = any_crop | {"left_out": None}
    found: list[Candidate | None] = [None] * len(gold.entities)
    if config.finder not in (RELEASED, NONE):
        found = predict(gold.entities, posts, root, config, finder)
        predicted = [[one.box] if one else [] for one in found]
        asked = "its best box" if config.finder == SALIENCE else "asked for the entity"
        rows = {f"{config.finder}, {asked}": score(gold.entities, predicted)} | rows
    with (folder / "predictions.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for entity, one, near in zip(gold.entities, found, crops, strict=True):
            file.write(json.dumps(_line(posts[entity.post], entity, one, near)) + "\n")
    counts = {
        "grounded": sum(bool(entity.boxes) for entity in gold.entities),
        "ungrounded": sum(not entity.boxes for entity in gold.entities),
        "passed_over": gold.passed_over,
    }
    write_json(folder / "metrics.json", {**about, "iou": IOU, "entities": counts, "scores": rows})


def predict(
    entities: Sequence[Entity],
    posts: Sequence[Post],
    root: Path,
    config: GroundConfig,
    finder: Callable[[str], Finder],
) -> list[Candidate | None]:
    """The grounder's best box for each entity, asked for by its name; None below `min_score`."""
    asked: dict[int, list[Entity]] = {}
    for entity in entities:
        asked.setdefault(entity.post, []).append(entity)
    questions = {
        number: Question(
            root / str(posts[number].picture),
            its[0].size,
            tuple(dict.fromkeys(_phrase(entity.name) for entity in its)),
        )
        for number, its in asked.items()
    }
    answers = finder(config.finder).answers(questions.values())
    found: list[Candidate | None] = []
    for entity in entities:
        answer = answers[questions[entity.post]]
        found.append(
            _best(answer, _phrase(entity.name), config) if isinstance(answer, Answer) else None
        )
    return found


def _phrase(name: str) -> str:
    """An entity as a grounder is asked for it."""
    return next(iter(clean([name])), name)


def _best(answer: Answer, phrase: str, config: GroundConfig) -> Candidate | None:
    asked = [one for one in answer.candidates if one.phrase in (phrase, None)]
    rule = Rule(most=1, least_score=float(config.min_score or 0))
    return next(iter(choose(usable(asked, answer.size, Counter()), rule)), None)


def _boxes_of(line: Grounded) -> list[Box] | None:
    """Boxes of a post's crops; None where crops are files."""
    boxes = [region.box for region in line.regions if region.box is not None]
    return boxes if len(boxes) == len(line.regions) else None


def score(entities: Sequence[Entity], predicted: Sequence[Sequence[Box]]) -> dict[str, Any]:
    """Accuracy over grounded entities, and the share of the others that got no box, in percent.

    An entity is right where one of its predicted boxes has an intersection over union of 0.5 with
    one of its own; `accuracy_by_type` has the accuracy of each type of entity.
    """
    pairs = list(zip(entities, predicted, strict=True))
    grounded = [(entity, _hit(entity, boxes)) for entity, boxes in pairs if entity.boxes]
    types = sorted({entity.type for entity, _ in grounded if entity.type is not None})
    return {
        "accuracy": _percent(hit for _, hit in grounded),
        "left_out": _percent(not boxes for entity, boxes in pairs if not entity.boxes),
        "accuracy_by_type": {
            name: _percent(hit for entity, hit in grounded if entity.type == name) for name in types
        },
    }


def _hit(entity: Entity, boxes: Iterable[Box]) -> bool:
    return any(iou(box, own) >= IOU for box in boxes for own in entity.boxes)


def _percent(right: Iterable[bool]) -> float | None:
    """None of nothing."""
    every = list(right)
    return round(100 * sum(every) / len(every), 2) if every else None


def _trivial(entities: Sequence[Entity]) -> dict[str, dict[str, Any]]:
    """What needs no grounder: the whole picture, and the centred box that suits these boxes best.

    The latter is chosen on the entities that it is scored on: no such box does better.
    """
    grounded = [entity for entity in entities if entity.boxes]
    shares = [(width, height) for height in SIDES for width in SIDES]
    hits = [sum(_hit(e, [_centred(e.size, share)]) for e in grounded) for share in shares]
    best = shares[int(np.argmax(hits))]
    return {
        "whole picture": score(entities, [[_centred(e.size, (1.0, 1.0))] for e in entities]),
        f"best centred box ({best[0]:.2f} × {best[1]:.2f} of the picture)": score(
            entities, [[_centred(e.size, best)] for e in entities]
        ),
    }


def _centred(size: tuple[int, int], share: tuple[float, float]) -> Box:
    (width, height), (across, down) = size, share
    left, top = width * (1 - across) / 2, height * (1 - down) / 2
    return left, top, width - left, height - top


def _line(
    post: Post, entity: Entity, found: Candidate | None, crops: Sequence[Box] | None
) -> dict[str, Any]:
    return {
        "id": post.id,
        "picture": post.picture,
        "entity": entity.name,
        "type": entity.type,
        "boxes": entity.boxes,
        "found": found.box if found else None,
        "score": found.score if found else None,
        "right": _hit(entity, [found.box] if found else []),
        "in_crops": None if crops is None else _hit(entity, crops),
    }


def table(metrics: dict[str, Any]) -> list[str]:
    """A table for people."""
    counts = metrics["entities"]
    told = [
        f"{counts['grounded']} grounded and {counts['ungrounded']} ungrounded entities",
        f"passed over: {_told(counts['passed_over'])}",
        f"{'':52}{'accuracy':>10}{'left out':>10}",
    ]
    for name, row in metrics["scores"].items():
        told.append(f"{name:52}{_cell(row['accuracy'])}{_cell(row['left_out'])}")
    return told


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} × {why}" for why, n in counts.items() if n) or "nothing"


def _cell(share: float | None) -> str:
    return f"{'—' if share is None else f'{share:.2f}':>10}"
