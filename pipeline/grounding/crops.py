"""The output of GroundCrops: one line per post, with its regions."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.grounding import Region
from features.pictures import NO_FILE, absence
from pipeline.engine.files import leads_out
from pipeline.engine.near import NearNames, described

LINKED_OUT = "outside"  # kind of problem: the picture is a link that leaves the data root
LEADS_OUT = "a link that leads out of the data; copy the picture, or link its whole folder"


def file_problem(file: Path, root: Path, near: NearNames) -> str | None:
    """Return why a file cannot be a post's picture, without opening it; None if it can.

    root: the data root.
    """
    if leads_out(file, root):
        return f"{LINKED_OUT}: {LEADS_OUT}"
    if file.is_file():
        return None
    absent = absence(file)
    return described("missing", near.hint(file) if absent == NO_FILE else absent)


@dataclass(frozen=True)
class Grounded:
    """A post with its picture and regions: one line of `crops.jsonl`.

    picture: path relative to the data root.
    problem: why the picture cannot be used; None if it can.
    phrase_source: source of `phrases`. A region's source may differ: a post without phrases is
        grounded by a fallback.
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
        """Return the post as one JSON line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Grounded":
        """Read a line written by `to_json`."""
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
    """The posts of `folder/crops.jsonl`. Each iteration reads the file again."""

    folder: Path

    def __iter__(self) -> Iterator[Grounded]:
        with (self.folder / "crops.jsonl").open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield Grounded.from_json(line)
