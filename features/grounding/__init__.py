"""Grounding: from a picture, and maybe the phrases of its sentence, to the boxes worth a crop.

Boxes are in pixels of the upright picture; `features.pictures` defines them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from features.pictures import Box

GROUNDERS = ("released", "none", "salience")


@dataclass(frozen=True)
class Region:
    """One grounded object: a `box` of the picture, or a `file` that holds the crop itself.

    `score` and `phrase` are None where the grounder knows none; `file` is relative to the
    data's root; `source` is the grounder's name.
    """

    phrase: str | None
    box: Box | None
    score: float | None
    file: str | None
    source: str


@dataclass(frozen=True)
class Request:
    """What a grounder is given: `path` of the picture, and the grounding that came with the data.

    The file at `path` may be missing. `boxes` and `crops` are None where the data have none.
    """

    path: Path
    phrases: tuple[str, ...]
    boxes: tuple[Box, ...] | None
    crops: tuple[str, ...] | None


class Grounder(Protocol):
    """`opens_picture` and `uses_phrases` tell what the answer depends on beside the request's
    own boxes and crops; `settings` is whatever else decides it, for the key of a cache."""

    name: str
    opens_picture: bool
    uses_phrases: bool
    settings: str

    def ground(self, request: Request, most: int) -> list[Region]:
        """At most `most` regions, the best first.

        Raises PictureError if it opens the picture and can't.
        """


class Released:
    """The grounding that came with the data, in its order: crops if there are any, else boxes."""

    name = "released"
    opens_picture = False
    uses_phrases = False
    settings = ""

    def ground(self, request: Request, most: int) -> list[Region]:
        if request.crops:
            return [Region(None, None, None, file, self.name) for file in request.crops[:most]]
        return [Region(None, box, None, None, self.name) for box in (request.boxes or ())[:most]]


class Whole:
    """No objects: the picture as a whole is all that the model sees."""

    name = "none"
    opens_picture = False
    uses_phrases = False
    settings = ""

    def ground(self, request: Request, most: int) -> list[Region]:
        return []


def make_grounder(name: str) -> Grounder:
    """The grounder of that name, one of GROUNDERS. Raises ValueError."""
    if name == "released":
        return Released()
    if name == "none":
        return Whole()
    if name == "salience":
        from features.grounding.salience import Salience  # it imports this module

        return Salience()
    # Learned grounders get their branch here, their module imported inside it.
    raise ValueError(f"no grounder {name!r}; choose one of {', '.join(GROUNDERS)}")
