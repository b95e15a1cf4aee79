"""Compute regions and pyramids of pictures with the code that also fills the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from features.grounding import Region
from features.pictures import PictureError, Source, picture_size, read_picture
from pipeline.corpus.post import Post
from pipeline.extraction.compute import RowComputer, Wanted
from pipeline.extraction.rows import RowSource, absent_key, sources_of
from pipeline.grounding.config import READ_PHRASES, GroundConfig
from pipeline.grounding.crops import Grounded
from pipeline.grounding.finder import Unremembered, make_unremembered
from pipeline.grounding.ground import Pictures, find_regions, released_regions
from pipeline.grounding.phrases import Phrases, phrases_of
from pipeline.grounding.report import Counts, in_short
from pipeline.machine import Machine
from pipeline.prediction.prediction import NONE, USED
from pipeline.prediction.records import Record
from pipeline.prediction.runs import PictureSetup
from pipeline.training.batches import Tensors

HERE = Path()  # the folder to which picture names are relative


@dataclass(frozen=True)
class Seen:
    """Pyramids and regions of a batch of N records.

    pyramid: (N, R, ΣC, h, w) float16; the row of an all-zero input where a region is absent.
    there: (N, R) bool, False where a region is absent.
    status: the picture_status of each record.
    regions: the regions of each record that have a row.
    """

    pyramid: Tensor
    there: Tensor
    status: list[str]
    regions: list[tuple[Region, ...]]

    def of(self, owners: Mapping[int, int]) -> Tensors:
        """Return the function that gives a batch's tensors for encoded posts by number.

        owners: number of an encoded post -> number of its record.
        """

        def tensors(numbers: Sequence[int]) -> dict[str, Tensor]:
            chosen = [owners[number] for number in numbers]
            return {"pyramid": self.pyramid[chosen], "regions": self.there[chosen]}

        return tensors


@dataclass
class _Album:
    """The pictures of a batch by name: their path, or a generated name for bytes and images."""

    sources: dict[Path, Source] = field(default_factory=dict)

    def add(self, source: Source) -> str:
        """Add a picture and return its name; a path is added once."""
        name = source if isinstance(source, Path) else Path(f"<picture {len(self.sources)}>")
        self.sources[name] = source
        return str(name)

    def open(self, name: Path) -> tuple[Image.Image, float]:
        """Open a picture as `read_picture` does."""
        return read_picture(self.sources[name])

    def open_whole(self, name: Path) -> Image.Image:
        """Open a picture as `open_picture` does."""
        return self.open(name)[0]


@dataclass(frozen=True)
class GroundedRecords:
    """A batch of records with the regions of their pictures: a post and a line for each."""

    album: _Album
    posts: list[Post]
    pictures: Pictures
    lines: list[Grounded]


class RecordGrounder:
    """Grounds the pictures of records as GroundCrops does, without a store."""

    def __init__(self, config: GroundConfig, machine: Machine) -> None:
        self.config, self.machine = config, machine
        self._grounders: dict[str, Unremembered] = {}  # stay loaded between batches

    def ground(self, records: Sequence[Record]) -> GroundedRecords:
        """Find the regions of a batch."""
        album = _Album()
        posts = [_post(number, record, album) for number, record in enumerate(records)]
        pictures = _look_at(posts, album)
        return GroundedRecords(album, posts, pictures, self._lines(posts, pictures, album))

    def _finder(self, album: _Album) -> Callable[[str], Unremembered]:
        """Return the function that gives a grounder by name, for an album's pictures."""

        def finder(name: str) -> Unremembered:
            if name not in self._grounders:
                self._grounders[name] = make_unremembered(
                    name, self.config, self.machine, album.open_whole
                )
            return replace(self._grounders[name], open_file=album.open_whole)

        return finder

    def _lines(self, posts: Sequence[Post], pictures: Pictures, album: _Album) -> list[Grounded]:
        config, counts = self.config, Counts()
        reads = config.finder in READ_PHRASES
        phrases = phrases_of(posts, config.phrases) if reads else [Phrases()] * len(posts)
        regions = [released_regions(post, pictures, config, counts) for post in posts]
        finder = self._finder(album)
        find_regions(posts, phrases, regions, pictures, HERE, config, finder, counts)
        return [
            Grounded(
                id=post.id,
                split=post.split,
                tokens=post.tokens,
                picture=post.picture,
                problem=None,
                phrases=words.found,
                regions=own or (),
                phrase_source=words.source,
            )
            for post, words, own in zip(posts, phrases, regions, strict=True)
        ]


class PictureReader:
    """Grounds pictures and computes their rows, without a store."""

    def __init__(self, setup: PictureSetup, machine: Machine) -> None:
        """Load the backbone. Raises WeightsError, DeviceError."""
        self.grounder = RecordGrounder(setup.grounding, machine)
        self.slots = 1 + setup.grounding.max_crops
        self.computer = RowComputer(setup.extraction, machine)
        self._absent: np.ndarray | None = None

    def read(self, records: Sequence[Record]) -> Seen:
        """Compute a batch's regions and pyramids. A picture that cannot be used has no rows."""
        grounded = self.grounder.ground(records)
        album, posts, lines = grounded.album, grounded.posts, grounded.lines
        sources = [sources_of(line, HERE, self.slots) for line in lines]
        rows, problems = self._rows(sources, album)
        there = np.array([[source in rows for source in own] for own in sources])
        absent = self._absent_row()
        pyramid = np.stack([[rows.get(source, absent) for source in own] for own in sources])
        return Seen(
            pyramid=torch.from_numpy(pyramid),
            there=torch.from_numpy(there),
            status=[_status(post, grounded.pictures, problems) for post in posts],
            regions=[
                tuple(r for r, used in zip(line.regions, own[1:], strict=False) if used)
                for line, own in zip(lines, there, strict=True)
            ],
        )

    def _rows(
        self, sources: Sequence[Sequence[RowSource | None]], album: _Album
    ) -> tuple[dict[RowSource | None, np.ndarray], dict[Path, str]]:
        """Compute each row of a batch once. Also returns the problems of files without rows."""
        by_file: dict[Path, Wanted] = {}
        keys: dict[bytes, RowSource] = {}
        for source in dict.fromkeys(one for own in sources for one in own if one is not None):
            key = source.key(str(source.file), self.computer.preparation)
            keys[key] = source
            by_file.setdefault(source.file, Wanted(source.file, {})).boxes[key] = source.box
        problems: dict[Path, str] = {}
        batches = self.computer.rows(by_file.values(), problems, {}, album.open)
        rows: dict[RowSource | None, np.ndarray] = {
            keys[key]: row
            for batch, values in batches
            for key, row in zip(batch, values, strict=True)
        }
        return rows, problems

    def _absent_row(self) -> np.ndarray:
        """Return the row of an all-zero input, computed once."""
        if self._absent is None:
            key = absent_key(self.computer.preparation)
            [(_, [row])] = self.computer.rows([Wanted(None, {key: None})], {}, {})
            self._absent = row
        return self._absent


def _post(number: int, record: Record, album: _Album) -> Post:
    """Turn a record into a post for grounding, and add its pictures to the album."""
    names = [album.add(source) for source in record.pictures]
    head, tail = record.pair or (None, None)
    return Post(
        id=str(number),
        split="test",
        tokens=record.tokens,
        picture=names[0] if names else None,
        head=head,
        tail=tail,
        phrases=record.phrases,
        boxes=record.boxes,
        crops=tuple(names[1:]) if len(names) > 1 else None,
    )


def _look_at(posts: Sequence[Post], album: _Album) -> Pictures:
    """Read each picture's size from its header, or note the reason why it cannot be used."""
    pictures = Pictures()
    for name in dict.fromkeys(post.picture for post in posts if post.picture is not None):
        try:
            pictures.sizes[name] = picture_size(album.sources[Path(name)])
        except PictureError as error:
            pictures.problems[name] = error
    return pictures


def _status(post: Post, pictures: Pictures, problems: Mapping[Path, str]) -> str:
    """Return a record's picture_status."""
    if post.picture is None:
        return NONE
    if post.picture in pictures.problems:
        return in_short(pictures.problems[post.picture])
    return problems.get(Path(post.picture), USED)
