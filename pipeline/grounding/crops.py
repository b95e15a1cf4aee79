"""GroundCrops's output: a line a post, with its regions."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.grounding import Region

LINKED_OUT = "outside"  # the kind of a picture that is a link to somewhere else
LEADS_OUT = "a link that leads out of the data; copy the picture, or link its whole folder"


@dataclass(frozen=True)
class Grounded:
    """A post's picture and what was grounded in it: one line of `crops.jsonl`.

    `picture` is relative to the data root; `problem` says why it can't be used, if it can't.
    `phrase_source` tells where the sentence's phrases are from; a region's own may be another,
    where the post had none.
    """

    id: str
    split: str
    tokens: tuple[str, ...]
    picture: str | None
    problem: str | None
    phrases: tuple[str, ...]
    regions: tuple[Region, ...]
    phrase_source: str | None = None

    def to_json(self) -> str:
        """One JSON line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Grounded":
        """The inverse of `to_json`."""
        fields: dict[str, Any] = json.loads(line)
        fields["regions"] = tuple(_region(region) for region in fields["regions"])
        for name in ("tokens", "phrases"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def _region(fields: dict[str, Any]) -> Region:
    box = fields.pop("box")
    return Region(**fields, box=None if box is None else tuple(box))


@dataclass(frozen=True)
class GroundedPosts:
    """The lines of a `crops.jsonl`, read as often as they are asked for."""

    folder: Path

    def __iter__(self) -> Iterator[Grounded]:
        with (self.folder / "crops.jsonl").open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield Grounded.from_json(line)
