"""A post: a sentence, its picture and its labels."""

import json
from dataclasses import asdict, dataclass
from typing import Any

Span = tuple[int, int]  # [start, end) in tokens
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the upright picture

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Post:
    """One post. File names are relative to the data root, with forward slashes.

    `tags` are BIO, one per token. `phrases`, `boxes` and `crops` are grounding that comes with the
    data: phrases to look for, boxes in the picture, or files of crops. `None` means that the data
    says nothing about a field; an empty tuple means that the post has none.
    """

    id: str
    split: str
    tokens: tuple[str, ...]
    picture: str | None = None
    tags: tuple[str, ...] | None = None
    head: Span | None = None
    tail: Span | None = None
    relation: str | None = None
    phrases: tuple[str, ...] | None = None
    boxes: tuple[Box, ...] | None = None
    crops: tuple[str, ...] | None = None

    def to_json(self) -> str:
        """Write the post as one line of JSON, without the fields that are None."""
        fields = {k: v for k, v in asdict(self).items() if v is not None}
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Post":
        """Read a line written by `to_json`."""
        fields: dict[str, Any] = json.loads(line)
        for name in ("tokens", "tags", "head", "tail", "phrases", "crops"):
            if name in fields:
                fields[name] = tuple(fields[name])
        if "boxes" in fields:
            fields["boxes"] = tuple(tuple(box) for box in fields["boxes"])
        return cls(**fields)
