"""Posts + a grounder -> at most m regions of each post's picture."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from features.grounding import Candidate, Region
from features.grounding.select import Rule, choose, usable
from features.pictures import PictureError, picture_size
from pipeline.boxes import Answer, Finder, Question
from pipeline.corpus import Post
from pipeline.corpus.files import leads_out
from pipeline.jsonfile import write_json
from pipeline.phrases import Phrases, phrases_of
from pipeline.presets import (
    BY_PHRASE,
    DETECTOR_WEIGHTS,
    GENERIC,
    GENERIC_PHRASES,
    NONE,
    RELEASED,
    SALIENCE,
    GroundConfig,
)

OUTSIDE = "outside"  # the kind of a picture that is a link to somewhere else
LEADS_OUT = "a link that leads out of the data; copy the picture, or link its whole folder"
NAMED = 5  # pictures that a message names before it only counts
log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Attempt:
    """A grounder, and the phrases that it is given for a post."""

    grounder: str
    phrases: tuple[str, ...] = ()
    source: str | None = None  # of the phrases


def attempts(phrases: Phrases, config: GroundConfig) -> list[Attempt]:
    """What is tried for a post in turn, until something is found."""
    finder = config.finder
    if finder in (RELEASED, NONE):
        return []
    if finder == SALIENCE:
        return [Attempt(SALIENCE)]
    if phrases.found:
        return [Attempt(finder, phrases.found, phrases.source)]
    fallback = [Attempt(finder, GENERIC_PHRASES, GENERIC), Attempt(SALIENCE)]
    return {GENERIC: fallback, SALIENCE: fallback[1:], NONE: []}[config.fallback]


def ground(
    posts: Sequence[Post],
    root: Path,
    config: GroundConfig,
    finder: Callable[[str], Finder],
    folder: Path,
) -> None:
    """Ground all posts into `folder/crops.jsonl`, a line a post, and count into `report.json`.

    root: the data root that the posts' file names are relative to. config: with nothing left on
    "auto". finder: a grounder by its name.
    """
    work = _Work(root, config, finder)
    lines = work.ground(posts, phrases_of(posts, config.phrases))
    with (folder / "crops.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line.to_json() + "\n" for line in lines)
    write_json(folder / "report.json", work.report(lines))
    work.tell(lines)


@dataclass
class _Work:
    """What is counted while posts are grounded: by picture, by name, and by what is wrong."""

    root: Path
    config: GroundConfig
    finder: Callable[[str], Finder]
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: dict[str, PictureError] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    identity: dict[str, list[str]] = field(default_factory=dict)

    def ground(self, posts: Sequence[Post], phrases: Sequence[Phrases]) -> list[Grounded]:
        """Each post's line."""
        self._inspect(posts)
        regions = [self._released(post) for post in posts]
        waiting = {
            number: (post.picture, attempts(words, self.config))
            for number, (post, words) in enumerate(zip(posts, phrases, strict=True))
            if regions[number] is None and post.picture in self.sizes
        }
        while waiting := {n: (picture, left) for n, (picture, left) in waiting.items() if left}:
            for number, found in self._try({n: (p, left[0]) for n, (p, left) in waiting.items()}):
                regions[number] = found
            waiting = {
                number: (picture, left[1:])
                for number, (picture, left) in waiting.items()
                if not regions[number] and picture not in self.problems
            }
        return [
            Grounded(
                post.id,
                post.split,
                post.tokens,
                post.picture,
                self._problem(post.picture),
                words.found,
                found or (),
                words.source,
            )
            for post, words, found in zip(posts, phrases, regions, strict=True)
        ]

    def _inspect(self, posts: Sequence[Post]) -> None:
        """Look at every picture's header."""
        pictures = dict.fromkeys(post.picture for post in posts if post.picture is not None)
        for name in tqdm(pictures, "pictures", unit="picture", disable=None):
            try:
                if leads_out(self.root / name, self.root):
                    raise PictureError(LEADS_OUT, kind=OUTSIDE)
                self.sizes[name] = picture_size(self.root / name)
            except PictureError as error:
                self.problems[name] = error

    def _released(self, post: Post) -> tuple[Region, ...] | None:
        """The grounding that came with a post: crops, which need no picture, or else boxes.

        None where none came, or another is wanted.
        """
        if RELEASED not in self.config.grounder or (post.boxes is None and post.crops is None):
            return None
        most = self.config.max_crops
        if post.crops:
            return tuple(Region(None, None, None, crop, RELEASED) for crop in post.crops[:most])
        if post.picture not in self.sizes:
            return ()
        boxes = [Candidate(None, box, 1.0) for box in post.boxes or ()]
        good = usable(boxes, self.sizes[post.picture], self.rejected)
        return tuple(Region(None, one.box, None, None, RELEASED) for one in good[:most])

    def _try(
        self, tried: Mapping[int, tuple[str | None, Attempt]]
    ) -> Iterator[tuple[int, tuple[Region, ...]]]:
        """Regions by the post's number; of broken pictures none, and they are noted."""
        for name in dict.fromkeys(attempt.grounder for _, attempt in tried.values()):
            questions = {
                number: Question(
                    self.root / str(picture), self.sizes[str(picture)], attempt.phrases
                )
                for number, (picture, attempt) in tried.items()
                if attempt.grounder == name
            }
            finder = self.finder(name)
            answers = finder.answers(questions.values())
            self.asked[name] += finder.answered
            self.identity[name] = list(finder.identity)
            for number, question in questions.items():
                picture, attempt = tried[number]
                answer = answers[question]
                if isinstance(answer, Answer):
                    yield number, self._choose(answer, attempt)
                else:
                    self.problems[str(picture)] = answer

    def _choose(self, answer: Answer, attempt: Attempt) -> tuple[Region, ...]:
        config = self.config
        rule = Rule(
            most=config.max_crops,
            by_phrase=config.order == BY_PHRASE,
            least_score=0.0 if attempt.grounder != config.finder else float(config.min_score or 0),
            overlap=config.overlap,
            per_phrase=config.boxes_per_phrase,
        )
        boxes = usable(answer.candidates, answer.size, self.rejected)
        good = choose(boxes, rule, attempt.phrases)
        return tuple(
            Region(one.phrase, one.box, round(one.score, 4), None, attempt.grounder, attempt.source)
            for one in good
        )

    def _problem(self, picture: str | None) -> str | None:
        error = None if picture is None else self.problems.get(picture)
        return None if error is None else _told(error)

    def report(self, lines: Sequence[Grounded]) -> dict[str, Any]:
        """What people and `ShowCrops` read."""
        regions = [region for line in lines for region in line.regions]
        return {
            "settings": asdict(self.config),
            "posts": len(lines),
            "posts_without_picture": sum(line.picture is None for line in lines),
            "posts_with_phrases": sum(bool(line.phrases) for line in lines),
            "posts_by_phrases": _counts(line.phrase_source for line in lines),
            "pictures": len(self.sizes | self.problems),
            "problems_by_kind": _counts(error.kind for error in self.problems.values()),
            "problems": {name: _told(error) for name, error in sorted(self.problems.items())},
            "grounded_now": dict(self.asked),
            "answers_by": self.identity,  # grounders and what decides their answers
            "regions": len(regions),
            "regions_by_grounder": _counts(region.source for region in regions),
            "regions_by_phrases": _counts(region.phrase_source for region in regions),
            "posts_by_regions": dict(sorted(Counter(len(line.regions) for line in lines).items())),
            "rejected": dict(self.rejected),
        }

    def tell(self, lines: Sequence[Grounded]) -> None:
        """The same in a few lines of the log."""
        regions = Counter(region.source for line in lines for region in line.regions)
        log.info(
            "%d posts: %s; pictures grounded now: %s",
            len(lines),
            ", ".join(f"{n} regions by {name}" for name, n in regions.items()) or "no regions",
            ", ".join(f"{n} by {name}" for name, n in self.asked.items()) or "none",
        )
        if self.config.grounder == f"{RELEASED}, {SALIENCE}" and SALIENCE in regions:  # by "auto"
            log.info(
                "salience reads no phrases: --grounder detector does; no weights of %s are on this "
                "machine, it downloads them once, or takes --weights FOLDER",
                DETECTOR_WEIGHTS,
            )
        if self.rejected:
            told = ", ".join(f"{n} {why}" for why, n in self.rejected.items())
            log.info("boxes rejected: %s", told)
        if self.problems:
            kinds = ", ".join(
                f"{n} {kind}" for kind, n in _counts(e.kind for e in self.problems.values()).items()
            )
            told = first_few({name: _told(error) for name, error in self.problems.items()})
            log.warning("%d pictures can't be used (%s): %s", len(self.problems), kinds, told)


def first_few(problems: Mapping[str, str]) -> str:
    """The first files that can't be used, each with the reason, and how many more there are."""
    shown = "; ".join(f"{name} ({why})" for name, why in islice(problems.items(), NAMED))
    more = f"; and {len(problems) - NAMED} more: report.json" if len(problems) > NAMED else ""
    return shown + more


def _counts(names: Iterable[str | None]) -> dict[str, int]:
    """How often each occurs, but None."""
    return dict(Counter(name for name in names if name is not None))


def _told(error: PictureError) -> str:
    return error.kind if error.kind == "missing" else f"{error.kind}: {error.reason}"
