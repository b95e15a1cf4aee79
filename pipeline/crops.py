"""Posts + a grounder -> at most m regions of each post's picture."""

import hashlib
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from features.grounding import Grounder, Region, Request, make_grounder
from features.pictures import PictureError
from pipeline.corpus import Post
from pipeline.jsonfile import write_json
from pipeline.phrases import GIVEN, SPACY, SpacyPhrases

AUTO = "auto"
FORM = "regions"  # of a kept answer: another word when it changes
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grounded:
    """A post's picture and what was grounded in it: one line of `crops.jsonl`.

    `picture` is relative to the data root; `problem` says why it can't be used, if it can't.
    """

    id: str
    split: str
    tokens: tuple[str, ...]
    picture: str | None
    problem: str | None
    phrases: tuple[str, ...]
    regions: tuple[Region, ...]

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


class BoxCache:
    """What grounders answered before, by everything that decides the answer.

    A picture or sentence that changes is grounded again, alone. Kept in one SQLite file, written
    a few hundred answers at a time: a killed run loses no more.
    """

    EVERY = 200

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        self._connection.execute(
            "create table if not exists boxes (key text primary key, answer text) without rowid"
        )
        self._unwritten: dict[str, str] = {}

    def __enter__(self) -> "BoxCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._connection.close()

    def get(self, key: str) -> Any:
        """The answer kept under a key, or None."""
        row = self._connection.execute("select answer from boxes where key=?", (key,)).fetchone()
        answer = row[0] if row else self._unwritten.get(key)
        return None if answer is None else json.loads(answer)

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer."""
        self._unwritten[key] = json.dumps(answer)
        if len(self._unwritten) >= self.EVERY:
            self._write()

    def _write(self) -> None:
        """The file is locked for this moment only, never while a grounder thinks."""
        with self._connection:
            self._connection.executemany(
                "insert or replace into boxes values (?, ?)", self._unwritten.items()
            )
        self._unwritten.clear()


@dataclass(frozen=True)
class Grounding:
    """How posts are grounded: the grounder's name (or "auto"), at most how many regions a post.

    "auto" takes the grounding that came with a post, and the salience grounder for a post that
    has none.
    """

    grounder: str
    most: int
    digest: Callable[[Path], str]
    cache: BoxCache

    def __call__(self, request: Request) -> tuple[tuple[Region, ...], str | None]:
        """Regions of one request, and why the picture can't be used, if it can't."""
        if not request.path.is_file():
            return (), "missing"
        grounder = make_grounder(self._choose(request))
        if not grounder.opens_picture:
            return tuple(grounder.ground(request, self.most)), None
        key = self._key(grounder, request)
        answer = self.cache.get(key)
        if answer is None:
            try:
                answer = [asdict(region) for region in grounder.ground(request, self.most)]
            except PictureError as error:
                return (), f"broken: {error}"  # not kept: it may be readable tomorrow
            self.cache.put(key, answer)
        return tuple(_region(region) for region in answer), None

    def _choose(self, request: Request) -> str:
        if self.grounder != AUTO:
            return self.grounder
        came_with_data = request.boxes is not None or request.crops is not None
        return "released" if came_with_data else "salience"

    def _key(self, grounder: Grounder, request: Request) -> str:
        parts = [FORM, grounder.name, grounder.settings, str(self.most), self.digest(request.path)]
        if grounder.uses_phrases:
            parts += request.phrases
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def ground(
    posts: Sequence[Post],
    root: Path,
    grounder: str,
    phrases: str,
    most: int,
    digest: Callable[[Path], str],
    cache: Path,
    folder: Path,
) -> None:
    """Ground all posts into `folder/crops.jsonl`, a line a post, and count into `report.json`.

    root: the data root that the posts' file names are relative to. phrases: as `resolve_phrases`
    gives it. digest: of a file's bytes. cache: the file of answers given before.
    """
    found = find_phrases(posts, phrases)
    with BoxCache(cache) as answers, (folder / "crops.jsonl").open("w", encoding="utf-8") as file:
        grounding = Grounding(grounder, most, digest, answers)
        grounded = []
        for post, its_phrases in tqdm(
            zip(posts, found, strict=True), "grounding", len(posts), unit="post", disable=None
        ):
            line = ground_post(post, its_phrases, root, grounding)
            file.write(line.to_json() + "\n")
            grounded.append(line)
    report = _report(grounded)
    write_json(folder / "report.json", report)
    log.info(
        "%(regions)d regions in %(pictures)d pictures of %(posts)d posts; phrases in "
        "%(posts_with_phrases)d posts",
        report,
    )


def ground_post(post: Post, phrases: tuple[str, ...], root: Path, grounding: Grounding) -> Grounded:
    """One post's line."""
    regions: tuple[Region, ...] = ()
    problem = None
    if post.picture is not None:
        regions, problem = grounding(Request(root / post.picture, phrases, post.boxes, post.crops))
    return Grounded(post.id, post.split, post.tokens, post.picture, problem, phrases, regions)


def read_grounded(folder: Path) -> Iterator[Grounded]:
    """The lines of a `crops.jsonl`."""
    with (folder / "crops.jsonl").open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield Grounded.from_json(line)


def find_phrases(posts: Sequence[Post], mode: str) -> list[tuple[str, ...]]:
    """Phrases of each post: those that came with it, spaCy's noun chunks, or none.

    mode: "given", "spacy", "none", or "given, spacy": spaCy's for posts that came without.
    """
    given = [post.phrases if GIVEN in mode else None for post in posts]
    found = [phrases or () for phrases in given]
    if SPACY in mode:
        bare = [n for n, phrases in enumerate(given) if phrases is None]
        answers = SpacyPhrases().batch([posts[n].tokens for n in bare])
        for n, answer in zip(bare, answers, strict=True):
            found[n] = answer
    return found


def _report(grounded: Sequence[Grounded]) -> dict[str, Any]:
    regions = [region for line in grounded for region in line.regions]
    pictures = {line.picture: line.problem for line in grounded if line.picture is not None}
    return {
        "posts": len(grounded),
        "posts_without_picture": sum(line.picture is None for line in grounded),
        "posts_with_phrases": sum(bool(line.phrases) for line in grounded),
        "pictures": len(pictures),
        "problems": {name: why for name, why in pictures.items() if why is not None},
        "regions": len(regions),
        "regions_by_grounder": dict(Counter(region.source for region in regions)),
        "posts_by_regions": dict(sorted(Counter(len(line.regions) for line in grounded).items())),
    }
