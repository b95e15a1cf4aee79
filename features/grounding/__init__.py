"""Grounding: from a picture and the phrases of its sentence to the boxes worth a crop.

A grounder offers candidates, `select` chooses regions among them. Boxes are in pixels of the
upright picture; `features.pictures` defines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a run with nothing to do asks for names alone
    from PIL.Image import Image

    from features.pictures import Box


@dataclass(frozen=True)
class Candidate:
    """A box that a grounder offers, as it came: it may leave the picture, or be no box at all.

    `phrase` is None where the grounder reads none. Scores of one grounder are comparable.
    """

    phrase: str | None
    box: Box
    score: float


@dataclass(frozen=True)
class Region:
    """One grounded object: a `box` of the picture, or a `file` that holds the crop itself.

    `phrase` and `score` are None where nothing is known of them; `file` is relative to the data's
    root. `source` is the grounder's name; `phrase_source` where the phrase came from.
    """

    phrase: str | None
    box: Box | None
    score: float | None
    file: str | None
    source: str
    phrase_source: str | None = None


class Grounder(Protocol):
    """What finds boxes in pictures. Making one loads its weights.

    `joint`: a phrase's boxes depend on the phrases that it is asked with. `one_size`: pictures of
    one call must have one size.
    """

    name: str
    joint: bool
    one_size: bool

    def find(
        self, pictures: Sequence[Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        """Candidates of each picture, for its own phrases.

        pictures: upright, RGB. A phrase may have several candidates, or none.
        """
