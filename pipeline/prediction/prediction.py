"""A prediction: entities and relations of one post, in the format of a record."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from features.grounding import Region
from features.pictures import Source

# Values of picture_status; others are reasons why the picture cannot be used, such as "missing".
PICTURE = "picture"  # the name of the region that is the whole picture
USED, NONE, UNREAD = "used", "none", "not read: no loaded model looks at it"


@dataclass(frozen=True)
class Entity:
    """An entity: [start, end) in characters of the text.

    score: the probability of exactly this span and label; None for an entity of the record.
    """

    start: int
    end: int
    label: str
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Relation:
    """A relation: head and tail are numbers of entities. score: the probability of the label."""

    head: int
    tail: int
    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one record.

    picture_status: "used", "none", or the reason why the picture is not used.
    regions: the grounded regions of the picture that were used.
    picture_text: the text of the picture that a model read; None if none reads texts.
    truncated: True if a model answered without reading all of the text.
    error: the reason why the record could not be read; the other fields are then empty.
    explanation: gates and attention, as explain.py describes them.
    given: fields of the record, repeated in the answer.
    pictures: the record's pictures, for `to_html`.
    """

    text: str = ""
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    picture_status: str = NONE
    regions: tuple[Region, ...] = ()
    picture_text: str | None = None
    truncated: bool = False
    error: str | None = None
    explanation: dict[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Source, ...] = field(default=(), repr=False, compare=False)

    @property
    def id(self) -> str | int | None:
        """The record's id; None if it has none."""
        return self.given.get("id")

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction in the format of a record, in JSON types."""
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
        if self.picture_text is not None:
            answer["picture_text"] = self.picture_text
        answer["truncated"] = self.truncated
        return answer if self.explanation is None else answer | {"explanation": self.explanation}

    def to_json(self) -> str:
        """Return one JSON line."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_html(self) -> str:
        """Return a page: entities marked in the text, relations, the picture with its boxes."""
        from pipeline.prediction.page import page

        return page([self])


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out fields without a value; round the score to six decimals."""
    known = {name: value for name, value in fields.items() if value not in (None, "")}
    return known | ({"score": round(known["score"], 6)} if "score" in known else {})
