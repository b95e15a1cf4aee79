"""A prediction: what the models say of one post, in the form that a record has."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from features.grounding import Region
from features.pictures import Source

# picture_status; else the reason why the picture cannot be used, such as "missing".
USED, NONE, UNREAD = "used", "none", "not read: no model that is loaded looks at pictures"


@dataclass(frozen=True)
class Entity:
    """[start, end) in characters of the text.

    `score`: the probability of exactly this labelled span; None for an entity that was given.
    """

    start: int
    end: int
    label: str
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Relation:
    """Head and tail are numbers of entities. `score`: the probability of the label."""

    head: int
    tail: int
    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one record.

    `given`: fields of the record, repeated. `picture_status`: "used", "none", or why the picture
    isn't used. `regions`: of the picture, as grounded. `truncated`: some answer was given without
    reading all of the text. `error`: why the record could not be read; then there is no answer.
    `explanation`: see `Explanation` in explain.py. `pictures`: the record's, for `to_html`.
    """

    text: str = ""
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    picture_status: str = NONE
    regions: tuple[Region, ...] = ()
    truncated: bool = False
    error: str | None = None
    explanation: dict[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Source, ...] = field(default=(), repr=False, compare=False)

    @property
    def id(self) -> str | int | None:
        """The record's own, if it has one."""
        return self.given.get("id")

    def to_dict(self) -> dict[str, Any]:
        """The record's form, in JSON's types."""
        if self.error is not None:
            return {**self.given, "error": self.error}
        answer: dict[str, Any] = {**self.given, "text": self.text}
        answer["entities"] = [_without_none(asdict(entity)) for entity in self.entities]
        answer["relations"] = [_without_none(asdict(relation)) for relation in self.relations]
        answer["picture_status"] = self.picture_status
        answer["regions"] = [
            {"box": region.box and [*region.box], "phrase": region.phrase}
            | {"score": region.score, "source": region.source}
            for region in self.regions
        ]
        answer["truncated"] = self.truncated
        return answer if self.explanation is None else answer | {"explanation": self.explanation}

    def to_json(self) -> str:
        """One JSON line."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_html(self) -> str:
        """A whole page: entities marked in the text, relations, the picture with its boxes."""
        from pipeline.prediction.page import page

        return page([self])


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that are there; scores to six decimals."""
    known = {name: value for name, value in fields.items() if value not in (None, "")}
    return known | ({"score": round(known["score"], 6)} if "score" in known else {})
