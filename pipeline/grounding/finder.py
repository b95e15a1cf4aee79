"""Ask grounders. Answers are cached under a key of everything that decides them."""

import functools
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from features.grounding import Candidate, Grounder
from features.pictures import PictureError, open_picture
from pipeline.engine.answers import Answers
from pipeline.grounding.config import DETECTOR, FAOA, SALIENCE, GroundConfig
from pipeline.machine import Machine

BATCH_SIZE = 8  # pictures that a grounder gets at once, by default
FORM = "candidates-1"  # version of the cached answers' format
Open = Callable[[Path], Image.Image]  # raises PictureError


@dataclass(frozen=True)
class Question:
    """A request for the boxes of phrases in a picture. size: (width, height) by its header."""

    picture: Path
    size: tuple[int, int]
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A grounder's unfiltered candidates in a picture of `size` (width, height)."""

    size: tuple[int, int]
    candidates: tuple[Candidate, ...]


class BoxCache:
    """A cache of answers in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._answers = Answers(path)

    def __enter__(self) -> "BoxCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()

    def get(self, key: str) -> Answer | None:
        """Return the answer cached under a key; None if there is none or it is damaged."""
        kept = self._answers.get(key)
        if kept is None:
            return None
        (width, height), boxes = json.loads(kept)
        candidates = (Candidate(phrase, tuple(box), score) for phrase, box, score in boxes)
        return Answer((width, height), tuple(candidates))

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Store a batch of answers."""
        self._answers.put(
            {
                key: json.dumps(
                    [answer.size, [astuple(candidate) for candidate in answer.candidates]]
                )
                for key, answer in answers.items()
            }
        )


@dataclass
class Finder:
    """A grounder with a cache of its answers. It is loaded at the first question not in the cache.

    identity: what decides the answers beside picture and phrases, as strings.
    make: makes the grounder.
    digest: returns the digest of a file's bytes.
    threads: number of threads that decode pictures.
    batch_size: pictures that the grounder gets at once.
    """

    name: str
    identity: Sequence[str]
    make: Callable[[], Grounder]
    cache: BoxCache
    digest: Callable[[Path], str]
    threads: int
    batch_size: int
    answered: int = 0  # questions answered without the cache

    def answers(self, questions: Iterable[Question]) -> dict[Question, Answer | PictureError]:
        """Answer each question, or say why its picture can't be used. Only answers are cached."""
        keys = {question: self._key(question) for question in dict.fromkeys(questions)}
        cached = {question: self.cache.get(key) for question, key in keys.items()}
        answers: dict[Question, Answer | PictureError] = {q: a for q, a in cached.items() if a}
        new = [question for question in keys if question not in answers]
        for batch in ask(
            new, self.make, open_picture, self.threads, self.batch_size, progress=self.name
        ):
            answers |= batch
            # If a picture changed meanwhile, don't cache its boxes under the key of the old one.
            good = {
                keys[q]: answer
                for q, answer in batch.items()
                if isinstance(answer, Answer) and self._key(q) == keys[q]
            }
            self.answered += len(good)
            self.cache.put(good)
        return answers

    def _key(self, question: Question) -> str:
        parts: list[Any] = [FORM, self.name, *self.identity, self.digest(question.picture)]
        return hashlib.sha256(json.dumps([parts, question.phrases]).encode()).hexdigest()


@dataclass
class Unremembered:
    """A grounder without a cache, usable in `find_regions` like a Finder: for many small batches.

    make: returns the same grounder each time, so that it stays loaded; see `make_unremembered`.
    open_file: opens a question's picture, whose path may be just a name.
    """

    name: str
    make: Callable[[], Grounder]
    open_file: Open
    threads: int
    batch_size: int
    identity: Sequence[str] = ()
    answered: int = 0  # questions answered by the last call

    def answers(self, questions: Iterable[Question]) -> dict[Question, Answer | PictureError]:
        """Answer each question, or say why its picture can't be used."""
        distinct = list(dict.fromkeys(questions))
        answers: dict[Question, Answer | PictureError] = {}
        for batch in ask(distinct, self.make, self.open_file, self.threads, self.batch_size):
            answers |= batch
        self.answered = sum(isinstance(answer, Answer) for answer in answers.values())
        return answers


Part = list[tuple[Image.Image, list[Question]]]  # a batch: pictures with their questions


def ask(
    questions: Sequence[Question],
    make: Callable[[], Grounder],
    open_file: Open,
    threads: int,
    batch_size: int,
    progress: str | None = None,
) -> Iterator[dict[Question, Answer | PictureError]]:
    """Yield answers, or why a picture can't be used, batch by batch.

    make: makes the grounder; called for the first picture that opens.
    open_file: called in threads, once for each picture.
    threads: number of threads that open pictures.
    batch_size: pictures that the grounder gets at once.
    progress: name of the progress bar; None: no bar.
    """
    grounder: Grounder | None = None
    part: Part = []
    hidden = True if progress is None else None  # None: tqdm shows it on a terminal only
    with tqdm(total=len(questions), desc=progress, unit="question", disable=hidden) as bar:
        for group, picture in _opened(questions, open_file, threads, 2 * batch_size):
            bar.update(len(group))
            if isinstance(picture, PictureError):
                yield dict.fromkeys(group, picture)
                continue
            grounder = grounder or make()
            # Ask all questions about a picture at once, unless their phrases affect each other.
            for together in [[question] for question in group] if grounder.joint else [group]:
                other_size = part and grounder.one_size and part[-1][0].size != picture.size
                if other_size or len(part) == batch_size:
                    yield _answer(part, grounder)
                    part = []
                part.append((picture, together))
        if part and grounder:
            yield _answer(part, grounder)


def _opened(
    questions: Iterable[Question], open_file: Open, threads: int, most: int
) -> Iterator[tuple[list[Question], Image.Image | PictureError]]:
    """Yield each picture with all questions about it, pictures of one size together.

    Threads decode each picture once. most: pictures that are decoded ahead.
    """
    by_picture: dict[tuple[tuple[int, int], Path], list[Question]] = {}
    for question in sorted(questions, key=lambda question: question.size):
        by_picture.setdefault((question.size, question.picture), []).append(question)
    waiting = iter(by_picture.items())
    with ThreadPoolExecutor(threads) as executor:
        ahead: deque[tuple[list[Question], Future[Image.Image | PictureError]]] = deque()
        while True:
            for (_, picture), group in islice(waiting, most - len(ahead)):
                ahead.append((group, executor.submit(_open, picture, open_file)))
            if not ahead:
                return
            group, future = ahead.popleft()
            yield group, future.result()


def _open(path: Path, open_file: Open) -> Image.Image | PictureError:
    try:
        return open_file(path)
    except PictureError as error:
        return error


def _answer(part: Part, grounder: Grounder) -> dict[Question, Answer | PictureError]:
    phrases = [tuple(dict.fromkeys(p for q in group for p in q.phrases)) for _, group in part]
    batch = grounder.find([picture for picture, _ in part], phrases)
    answers: dict[Question, Answer | PictureError] = {}
    for (picture, group), candidates in zip(part, batch, strict=True):
        for question in group:
            matching = (c for c in candidates if c.phrase is None or c.phrase in question.phrases)
            answers[question] = Answer(picture.size, tuple(matching))
    return answers


def make_finder(
    name: str,
    config: GroundConfig,
    machine: Machine,
    digest: Callable[[Path], str],
    content: Callable[[Path], str],
    cache: BoxCache,
) -> Finder:
    """Return the grounder `name` with the cache.

    digest: returns the digest of a file's bytes.
    content: returns the digest of a file or folder.

    Raises WeightsError, here or later, when the grounder is made.
    """
    identity, make = _GROUNDERS[name](config, machine)
    threads, batch_size = machine.threads, machine.batch_size or BATCH_SIZE
    return Finder(name, identity(content), make, cache, digest, threads, batch_size)


def make_unremembered(
    name: str, config: GroundConfig, machine: Machine, open_file: Open
) -> Unremembered:
    """Return the grounder `name` without a cache. No digest is computed.

    It is loaded for its first picture and stays loaded; copies by `dataclasses.replace` with
    another `open_file` share it. Raises WeightsError, here or later, when the grounder is made.
    """
    _, make = _GROUNDERS[name](config, machine)
    batch_size = machine.batch_size or BATCH_SIZE
    return Unremembered(name, functools.cache(make), open_file, machine.threads, batch_size)


# A grounder's identity (what decides its answers, with the digests of its files), and its maker.
# Learned grounders import torch.
_Identity = Callable[[Callable[[Path], str]], list[str]]
_Source = tuple[_Identity, Callable[[], Grounder]]


def _salience(config: GroundConfig, machine: Machine) -> _Source:
    from features.grounding.salience import SETTINGS, Salience

    return lambda content: [SETTINGS], Salience


def _detector(config: GroundConfig, machine: Machine) -> _Source:
    from features.grounding.detector import SETTINGS, Detector
    from features.grounding.hub import model_folder
    from pipeline.machine import pick_device

    folder = model_folder(str(config.weights))
    side, device = config.longest_side, pick_device(machine.device)
    return (
        lambda content: [SETTINGS, content(folder), config.precision, str(side)],
        lambda: Detector(folder, config.precision, side, device),
    )


def _faoa(config: GroundConfig, machine: Machine) -> _Source:
    from features.grounding.faoa import SETTINGS, FaoaGrounder
    from pipeline.machine import pick_device

    checkpoint, words = Path(str(config.weights)), str(config.vocabulary)
    data, device = str(config.trained_on), pick_device(machine.device)

    def identity(content: Callable[[Path], str]) -> list[str]:
        read = content(Path(words)) if Path(words).exists() else words
        return [SETTINGS, content(checkpoint), read, data, config.precision]

    return identity, lambda: FaoaGrounder(checkpoint, words, data, config.precision, device)


_GROUNDERS = {SALIENCE: _salience, DETECTOR: _detector, FAOA: _faoa}
