"""Posts + grounders -> at most m regions in each post's picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from features.grounding import Candidate, Region
from features.grounding.select import Rule, choose, usable
from features.pictures import PictureError, missing_share, picture_size
from model.hvpnet.variants import RELEASED
from pipeline.corpus.post import Post
from pipeline.engine.files import leads_out, write_json
from pipeline.engine.near import NearNames
from pipeline.grounding.config import (
    BY_PHRASE,
    GENERIC,
    GENERIC_PHRASES,
    NONE,
    SALIENCE,
    GroundConfig,
)
from pipeline.grounding.crops import LEADS_OUT, LINKED_OUT, Grounded
from pipeline.grounding.finder import Answer, Finder, Question, Unremembered
from pipeline.grounding.phrases import Phrases, phrases_of
from pipeline.grounding.report import Counts, in_short, log_report, report

Regions = tuple[Region, ...]


@dataclass(frozen=True)
class Attempt:
    """A grounder to try for a post, and the phrases to look for."""

    grounder: str
    phrases: tuple[str, ...] = ()
    source: str | None = None  # of the phrases


@dataclass(frozen=True)
class Pictures:
    """The posts' pictures, by name."""

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # (width, height) by header
    problems: dict[str, PictureError] = field(default_factory=dict)  # of unusable pictures
    filled: dict[str, float] = field(default_factory=dict)  # missing share of the data, then filled


def ground(
    posts: Sequence[Post],
    root: Path,
    config: GroundConfig,
    finder: Callable[[str], Finder],
    folder: Path,
) -> None:
    """Ground all posts. Writes `crops.jsonl`, a line per post, and `report.json` into `folder`.

    root: the data root, to which the posts' file names are relative.
    config: with every "auto" resolved.
    finder: returns a grounder by its name.
    """
    phrases = phrases_of(posts, config.phrases)
    pictures = look_at_pictures(posts, root)
    counts = Counts(filled=pictures.filled)
    regions = [released_regions(post, pictures, config, counts) for post in posts]
    find_regions(posts, phrases, regions, pictures, root, config, finder, counts)
    lines = [
        Grounded(
            id=post.id,
            split=post.split,
            tokens=post.tokens,
            picture=post.picture,
            problem=_problem(post, pictures),
            phrases=words.found,
            regions=chosen or (),
            phrase_source=words.source,
        )
        for post, words, chosen in zip(posts, phrases, regions, strict=True)
    ]
    with (folder / "crops.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line.to_json() + "\n" for line in lines)
    write_json(folder / "report.json", report(lines, config, pictures.problems, counts))
    log_report(lines, config, pictures.problems, counts)


def look_at_pictures(posts: Sequence[Post], root: Path) -> Pictures:
    """Read every picture's size from its header, and check that its data is complete."""
    pictures, near = Pictures(), NearNames()
    names = dict.fromkeys(post.picture for post in posts if post.picture is not None)
    for name in tqdm(names, "pictures", unit="picture", disable=None):
        try:
            if leads_out(root / name, root):
                raise PictureError(LEADS_OUT, kind=LINKED_OUT)
            size, missing = picture_size(root / name), missing_share(root / name)
            pictures.sizes[name] = size
            if missing:
                pictures.filled[name] = missing
        except PictureError as error:
            hint = near.hint(root / name) if error.kind == "missing" else ""
            pictures.problems[name] = PictureError(hint, kind=error.kind) if hint else error
    return pictures


def _problem(post: Post, pictures: Pictures) -> str | None:
    error = None if post.picture is None else pictures.problems.get(post.picture)
    return None if error is None else in_short(error)


def released_regions(
    post: Post, pictures: Pictures, config: GroundConfig, counts: Counts
) -> Regions | None:
    """Return a post's released regions: its crops, which need no picture, or else its boxes.

    Returns None if the post has none, or if the configuration does not use them.
    """
    if not config.grounder.released or (post.boxes is None and post.crops is None):
        return None
    most = config.max_crops
    if post.crops:
        return tuple(Region(None, None, None, crop, RELEASED) for crop in post.crops[:most])
    if post.picture not in pictures.sizes:
        return ()
    boxes = [Candidate(None, box, 1.0) for box in post.boxes or ()]
    good = usable(boxes, pictures.sizes[post.picture], counts.rejected)
    return tuple(Region(None, box.box, None, None, RELEASED) for box in good[:most])


def attempts(phrases: Phrases, config: GroundConfig) -> list[Attempt]:
    """Return the grounders to try for a post, in turn, until one gives a region."""
    if config.finder == NONE:
        return []
    if config.finder == SALIENCE:
        return [Attempt(SALIENCE)]
    if phrases.found:
        return [Attempt(config.finder, phrases.found, phrases.source)]
    fallback = [Attempt(config.finder, GENERIC_PHRASES, GENERIC), Attempt(SALIENCE)]
    return {GENERIC: fallback, SALIENCE: fallback[1:], NONE: []}[config.fallback]


def find_regions(
    posts: Sequence[Post],
    phrases: Sequence[Phrases],
    regions: list[Regions | None],
    pictures: Pictures,
    root: Path,
    config: GroundConfig,
    finder: Callable[[str], Finder | Unremembered],
    counts: Counts,
) -> None:
    """Fill `regions` where it is None and the post's picture can be used.

    The first attempts of all posts are made together, so that grounders get full batches; then the
    second attempts of the posts that got no region, and so on. A picture that turns out to be
    broken is added to `pictures.problems`. Only the finder opens pictures: with the root `Path()`,
    their names may be anything that it can open.
    """
    pending = {
        number: attempts(words, config)
        for number, (post, words) in enumerate(zip(posts, phrases, strict=True))
        if regions[number] is None and post.picture in pictures.sizes
    }
    while pending := {number: tries for number, tries in pending.items() if tries}:
        current = {number: tries[0] for number, tries in pending.items()}
        for number, answer in _answers(current, posts, pictures, root, finder, counts):
            if isinstance(answer, Answer):
                regions[number] = _choose(answer, current[number], config, counts)
            else:
                pictures.problems[str(posts[number].picture)] = answer
        pending = {
            number: tries[1:]
            for number, tries in pending.items()
            if not regions[number] and posts[number].picture not in pictures.problems
        }


def _answers(
    current: Mapping[int, Attempt],
    posts: Sequence[Post],
    pictures: Pictures,
    root: Path,
    finder: Callable[[str], Finder | Unremembered],
    counts: Counts,
) -> Iterator[tuple[int, Answer | PictureError]]:
    """Make the current attempt of each post, grounder by grounder. Yields number, answer."""
    for name in dict.fromkeys(attempt.grounder for attempt in current.values()):
        questions = {}
        for number, attempt in current.items():
            if attempt.grounder == name:
                picture = str(posts[number].picture)
                questions[number] = Question(
                    root / picture, pictures.sizes[picture], attempt.phrases
                )
        grounder = finder(name)
        answers = grounder.answers(questions.values())
        counts.asked[name] += grounder.answered
        counts.identity[name] = list(grounder.identity)
        for number, question in questions.items():
            yield number, answers[question]


def _choose(answer: Answer, attempt: Attempt, config: GroundConfig, counts: Counts) -> Regions:
    rule = Rule(
        most=config.max_crops,
        by_phrase=config.order == BY_PHRASE,
        least_score=0.0 if attempt.grounder != config.finder else float(config.min_score or 0),
        overlap=config.overlap,
        per_phrase=config.boxes_per_phrase,
    )
    boxes = usable(answer.candidates, answer.size, counts.rejected)
    return tuple(
        Region(box.phrase, box.box, round(box.score, 4), None, attempt.grounder, attempt.source)
        for box in choose(boxes, rule, attempt.phrases)
    )
