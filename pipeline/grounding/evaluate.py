"""Score a grounder against hand-drawn boxes of the entities that a text names."""

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

IOU = 0.5  # least IoU of a correct box with a gold box
SIDES = np.arange(1, 21) / 20  # sides of the centred boxes tried, as shares of the picture's


@dataclass(frozen=True)
class Entity:
    """A name in a post, with its gold boxes: none if the picture does not show it."""

    post: int  # number of the post
    name: str
    type: str | None
    size: tuple[int, int]  # width and height of the picture
    boxes: tuple[Box, ...]


@dataclass
class Gold:
    """The entities of annotated posts, and the count of what was skipped, by reason."""

    entities: list[Entity]
    passed_over: Counter[str]


def read_gold(posts: Sequence[Post], root: Path, folder: Path) -> Gold:
    """Return the entities of the posts whose pictures are annotated.

    Entities are the tagged ones, head and tail; for posts with neither, the names in the file. An
    entity is grounded if the file has boxes under its name. Posts with the same picture and
    sentence count once.

    root: the data root.
    folder: the XML files, named `<picture without suffix>.xml`, in it or in a subfolder named as
        the picture's folder (`train`, …).

    Raises DataError if no entity is grounded.
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
        gold.passed_over["invalid box"] += annotation.faults
        try:
            size = picture_size(root / picture)
        except PictureError:
            gold.passed_over["picture that can't be used"] += 1
            continue
        if annotation.size not in (None, size):
            gold.passed_over["picture of another size"] += 1
            continue
        entities = _entities([posts[n] for n in numbers], numbers[0], size, annotation)
        gold.entities += entities
        known = {same_name(entity.name) for entity in entities}
        gold.passed_over["name of no entity"] += sum(
            same_name(n) not in known for n in annotation.boxes
        )
    if not any(entity.boxes for entity in gold.entities):
        raise DataError(
            f"{folder}: expected XML files with boxes of the posts' entities, named as their "
            f"pictures, found none that fit (skipped: {_counts(gold.passed_over)})"
        )
    return gold


def _file(folder: Path, picture: Path, names: Mapping[str, int]) -> Path | None:
    """Return a picture's XML file, if any. Raises DataError if another picture has its name."""
    within, beside = (
        place / f"{picture.stem}.xml" for place in (folder / picture.parent.name, folder)
    )
    if within.is_file():
        return within
    if beside.is_file() and names[picture.stem] > 1:
        raise DataError(
            f"{beside}: expected one picture of that name, found {names[picture.stem]}; put "
            f"each file into a folder named as its picture's ({within.parent}, …), or give --split"
        )
    return beside if beside.is_file() else None


def _entities(
    posts: Sequence[Post], number: int, size: tuple[int, int], annotation: Annotation
) -> list[Entity]:
    """Return the entities of posts that share picture and sentence. number: of the first post."""
    tokens = posts[0].tokens
    spans: list[tuple[str | None, int, int]] = []
    for post in posts:
        spans += [(None, *span) for span in (post.head, post.tail) if span is not None]
        spans += entities_of(post.tags or ())
    named = [(" ".join(tokens[start:end]), kind) for kind, start, end in spans]
    if not named and all(post.tags is None for post in posts):
        named = [(name, None) for name in annotation.boxes]
    boxes = {same_name(name): drawn for name, drawn in annotation.boxes.items()}
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
    """Run the stage: write `metrics.json` and `predictions.jsonl`, a line per entity.

    grounded: the lines of GroundCrops, one for each of `posts`.
    root: the data root.
    boxes: the folder of XML files.
    config: the settings of GroundCrops.
    finder: returns a grounder by its name.
    about: further entries of `metrics.json`.
    folder: the output folder.
    """
    gold = read_gold(posts, root, boxes)
    crops = [_boxes_of(grounded[entity.post]) for entity in gold.entities]
    rows = _trivial(gold.entities)
    # Crops belong to a post, not to an entity, so `left_out` has no meaning for them. Released crop
    # files have no boxes to compare.
    boxed = [(e, b) for e, b in zip(gold.entities, crops, strict=True) if b is not None]
    any_crop = score([entity for entity, _ in boxed], [b for _, b in boxed])
    rows["any of the post's crops"] = any_crop | {"left_out": None}
    best: list[Candidate | None] = [None] * len(gold.entities)
    if config.finder not in (RELEASED, NONE):
        best = predict(gold.entities, posts, root, config, finder)
        predicted = [[candidate.box] if candidate else [] for candidate in best]
        asked = "its best box" if config.finder == SALIENCE else "asked for the entity"
        rows = {f"{config.finder}, {asked}": score(gold.entities, predicted)} | rows
    with (folder / "predictions.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for entity, candidate, near in zip(gold.entities, best, crops, strict=True):
            file.write(json.dumps(_line(posts[entity.post], entity, candidate, near)) + "\n")
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
    """Ask the grounder for each entity by name. Returns its best box; None below `min_score`."""
    by_post: dict[int, list[Entity]] = {}
    for entity in entities:
        by_post.setdefault(entity.post, []).append(entity)
    questions = {
        number: Question(
            root / str(posts[number].picture),
            named[0].size,
            tuple(dict.fromkeys(_phrase(entity.name) for entity in named)),
        )
        for number, named in by_post.items()
    }
    answers = finder(config.finder).answers(questions.values())
    predicted: list[Candidate | None] = []
    for entity in entities:
        answer = answers[questions[entity.post]]
        predicted.append(
            _best(answer, _phrase(entity.name), config) if isinstance(answer, Answer) else None
        )
    return predicted


def _phrase(name: str) -> str:
    """Return the phrase that a grounder gets for an entity's name."""
    return next(iter(clean([name])), name)


def _best(answer: Answer, phrase: str, config: GroundConfig) -> Candidate | None:
    candidates = [c for c in answer.candidates if c.phrase in (phrase, None)]
    rule = Rule(most=1, least_score=float(config.min_score or 0))
    return next(iter(choose(usable(candidates, answer.size, Counter()), rule)), None)


def _boxes_of(line: Grounded) -> list[Box] | None:
    """Return the boxes of a post's crops; None if the crops are released files."""
    boxes = [region.box for region in line.regions if region.box is not None]
    return boxes if len(boxes) == len(line.regions) else None


def score(entities: Sequence[Entity], predicted: Sequence[Sequence[Box]]) -> dict[str, Any]:
    """Score predicted boxes. The figures are in percent.

    accuracy: over grounded entities. An entity is correct if one of its predicted boxes has
        an IoU of at least 0.5 with one of its gold boxes.
    accuracy_by_type: the same for each type of entity.
    left_out: share of the ungrounded entities that got no box.
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
    return any(iou(box, gold) >= IOU for box in boxes for gold in entity.boxes)


def _percent(hits: Iterable[bool]) -> float | None:
    """Return the share of True in percent; None of an empty sequence."""
    every = list(hits)
    return round(100 * sum(every) / len(every), 2) if every else None


def _trivial(entities: Sequence[Entity]) -> dict[str, dict[str, Any]]:
    """Score two baselines without a grounder: the whole picture, and the best centred box.

    The centred box is chosen on the scored entities, so it is an upper bound.
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
    post: Post, entity: Entity, best: Candidate | None, crops: Sequence[Box] | None
) -> dict[str, Any]:
    return {
        "id": post.id,
        "picture": post.picture,
        "entity": entity.name,
        "type": entity.type,
        "boxes": entity.boxes,
        "found": best.box if best else None,
        "score": best.score if best else None,
        "right": _hit(entity, [best.box] if best else []),
        "in_crops": None if crops is None else _hit(entity, crops),
    }


def table(metrics: dict[str, Any]) -> list[str]:
    """Return the lines of a table of the metrics."""
    counts = metrics["entities"]
    lines = [
        f"{counts['grounded']} grounded and {counts['ungrounded']} ungrounded entities",
        f"skipped: {_counts(counts['passed_over'])}",
        f"{'':52}{'accuracy':>10}{'left out':>10}",
    ]
    for name, row in metrics["scores"].items():
        lines.append(f"{name:52}{_cell(row['accuracy'])}{_cell(row['left_out'])}")
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} × {why}" for why, n in counts.items() if n) or "nothing"


def _cell(share: float | None) -> str:
    return f"{'—' if share is None else f'{share:.2f}':>10}"
