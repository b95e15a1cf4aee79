"""Grounding: find the boxes of a picture that show the phrases of its sentence.

A grounder returns candidates; `select` chooses regions among them. Boxes are in pixels of the
upright picture; `features.pictures` defines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a run with nothing to do imports this file, and should not import Pillow
    from PIL.Image import Image

    from features.pictures import Box


@dataclass(frozen=True)
class Candidate:
    """A grounder's box, unchecked: it may exceed the picture, or not be a valid box at all.

    phrase: None if the grounder reads no phrases.
    score: comparable among candidates of one grounder.
    """

    phrase: str | None
    box: Box
    score: float


@dataclass(frozen=True)
class Region:
    """A grounded object: a box of the picture, or a file that holds the crop itself.

    phrase, score: None if unknown.
    file: relative to the root of the data.
    source: the grounder's name.
    phrase_source: where the phrase comes from.
    """

    phrase: str | None
    box: Box | None
    score: float | None
    file: str | None
    source: str
    phrase_source: str | None = None


class Grounder(Protocol):
    """A model that finds boxes in pictures. Its constructor loads the weights.

    joint: a phrase's boxes depend on the other phrases of the call.
    one_size: all pictures of a call must have the same size.
    """

    name: str
    joint: bool
    one_size: bool

    def find(
        self, pictures: Sequence[Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        """Return the candidates of each picture for its phrases.

        pictures: upright, RGB. phrases: a list for each picture. A phrase may have several
        candidates, or none.
        """
