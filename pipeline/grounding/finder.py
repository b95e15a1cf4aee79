"""What grounders answer, each question once: kept by all that decides the answer."""

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

BATCH_SIZE = 8  # pictures a grounder gets at once, if nothing else is said
FORM = "candidates-1"  # of a kept answer: another word when it changes
Open = Callable[[Path], Image.Image]  # raises PictureError


@dataclass(frozen=True)
class Question:
    """Where in this picture, of `size` (width, height) by its header, is what phrases speak of?"""

    picture: Path
    size: tuple[int, int]
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A grounder's candidates in a picture of `size` (width, height), as it gave them."""

    size: tuple[int, int]
    candidates: tuple[Candidate, ...]


class BoxCache:
    """Answers given before, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._answers = Answers(path)

    def __enter__(self) -> "BoxCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()

    def get(self, key: str) -> Answer | None:
        """The answer kept under a key; None, too, where it was damaged."""
        kept = self._answers.get(key)
        if kept is None:
            return None
        (width, height), boxes = json.loads(kept)
        candidates = (Candidate(phrase, tuple(box), score) for phrase, box, score in boxes)
        return Answer((width, height), tuple(candidates))

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keep a batch of answers."""
        self._answers.put(
            {
                key: json.dumps([answer.size, [astuple(one) for one in answer.candidates]])
                for key, answer in answers.items()
            }
        )


@dataclass
class Finder:
    """A grounder with its memory. The grounder is made, and its weights loaded, when it is needed.

    `identity`: what decides its answers beside picture and phrases. `digest`: of a file's bytes.
    `threads` decode pictures, `batch_size` of them at once.
    """

    name: str
    identity: Sequence[str]
    make: Callable[[], Grounder]
    cache: BoxCache
    digest: Callable[[Path], str]
    threads: int
    batch_size: int
    answered: int = 0  # questions that weren't answered before

    def answers(self, questions: Iterable[Question]) -> dict[Question, Answer | PictureError]:
        """An answer to each question, or why its picture can't be used: that isn't kept."""
        keys = {question: self._key(question) for question in dict.fromkeys(questions)}
        kept = {question: self.cache.get(key) for question, key in keys.items()}
        found: dict[Question, Answer | PictureError] = {q: a for q, a in kept.items() if a}
        new = [question for question in keys if question not in found]
        for batch in ask(
            new, self.make, open_picture, self.threads, self.batch_size, progress=self.name
        ):
            found |= batch
            # A picture that changed meanwhile must not give its boxes to the one that it was.
            good = {
                keys[q]: answer
                for q, answer in batch.items()
                if isinstance(answer, Answer) and self._key(q) == keys[q]
            }
            self.answered += len(good)
            self.cache.put(good)
        return found

    def _key(self, question: Question) -> str:
        parts: list[Any] = [FORM, self.name, *self.identity, self.digest(question.picture)]
        return hashlib.sha256(json.dumps([parts, question.phrases]).encode()).hexdigest()


@dataclass
class Unremembered:
    """A grounder without a memory, for `find_regions` as a Finder is: for many small batches.

    `make`: gives the same grounder each time, so that it stays loaded; see `make_unremembered`.
    `open_file`: opens a question's picture, whose path may be just a name.
    """

    name: str
    make: Callable[[], Grounder]
    open_file: Open
    threads: int
    batch_size: int
    identity: Sequence[str] = ()
    answered: int = 0  # questions, by the last call

    def answers(self, questions: Iterable[Question]) -> dict[Question, Answer | PictureError]:
        """An answer to each question, or why its picture can't be used."""
        asked = list(dict.fromkeys(questions))
        answers: dict[Question, Answer | PictureError] = {}
        for batch in ask(asked, self.make, self.open_file, self.threads, self.batch_size):
            answers |= batch
        self.answered = sum(isinstance(answer, Answer) for answer in answers.values())
        return answers


Part = list[tuple[Image.Image, list[Question]]]  # pictures, and the questions asked of each at once


def ask(
    questions: Sequence[Question],
    make: Callable[[], Grounder],
    open_file: Open,
    threads: int,
    batch_size: int,
    progress: str | None = None,
) -> Iterator[dict[Question, Answer | PictureError]]:
    """Answers, or why a picture can't be used, as soon as they are there.

    make: is called for the first picture that opens. open_file: is called in threads, once for each
    picture. batch_size: pictures the grounder gets at once. progress: the name on a bar; None: no
    bar.
    """
    grounder: Grounder | None = None
    part: Part = []
    hidden = True if progress is None else None  # None: hidden unless on a terminal
    with tqdm(total=len(questions), desc=progress, unit="question", disable=hidden) as bar:
        for own, picture in _opened(questions, open_file, threads, 2 * batch_size):
            bar.update(len(own))
            if isinstance(picture, PictureError):
                yield dict.fromkeys(own, picture)
                continue
            grounder = grounder or make()
            # Questions about one picture are one, unless their phrases affect each other.
            for asked in [[question] for question in own] if grounder.joint else [own]:
                other = part and grounder.one_size and part[-1][0].size != picture.size
                if other or len(part) == batch_size:
                    yield _answer(part, grounder)
                    part = []
                part.append((picture, asked))
        if part and grounder:
            yield _answer(part, grounder)


def _opened(
    questions: Iterable[Question], open_file: Open, threads: int, most: int
) -> Iterator[tuple[list[Question], Image.Image | PictureError]]:
    """The questions about each picture, which is decoded once, by threads, at most so many ahead.

    Pictures of one size come together.
    """
    by_picture: dict[tuple[tuple[int, int], Path], list[Question]] = {}
    for question in sorted(questions, key=lambda question: question.size):
        by_picture.setdefault((question.size, question.picture), []).append(question)
    waiting = iter(by_picture.items())
    with ThreadPoolExecutor(threads) as executor:
        ahead: deque[tuple[list[Question], Future[Image.Image | PictureError]]] = deque()
        while True:
            for (_, picture), own in islice(waiting, most - len(ahead)):
                ahead.append((own, executor.submit(_open, picture, open_file)))
            if not ahead:
                return
            own, future = ahead.popleft()
            yield own, future.result()


def _open(path: Path, open_file: Open) -> Image.Image | PictureError:
    try:
        return open_file(path)
    except PictureError as error:
        return error


def _answer(part: Part, grounder: Grounder) -> dict[Question, Answer | PictureError]:
    phrases = [tuple(dict.fromkeys(p for q in own for p in q.phrases)) for _, own in part]
    found = grounder.find([picture for picture, _ in part], phrases)
    answers: dict[Question, Answer | PictureError] = {}
    for (picture, own), candidates in zip(part, found, strict=True):
        for question in own:
            its = (c for c in candidates if c.phrase is None or c.phrase in question.phrases)
            answers[question] = Answer(picture.size, tuple(its))
    return answers


def make_finder(
    name: str,
    config: GroundConfig,
    machine: Machine,
    digest: Callable[[Path], str],
    content: Callable[[Path], str],
    cache: BoxCache,
) -> Finder:
    """The grounder of that name. digest: of a file's bytes; content: of a file or folder.

    Raises WeightsError, also later, when the grounder is made.
    """
    identity, make = _GROUNDERS[name](config, machine)
    threads, batch_size = machine.threads, machine.batch_size or BATCH_SIZE
    return Finder(name, identity(content), make, cache, digest, threads, batch_size)


def make_unremembered(
    name: str, config: GroundConfig, machine: Machine, open_file: Open
) -> Unremembered:
    """The grounder of that name, without a memory; no digest is computed.

    It is loaded for its first picture and kept, also by `replace(it, open_file=other)`. Raises
    WeightsError, also later, when the grounder is made.
    """
    _, make = _GROUNDERS[name](config, machine)
    batch_size = machine.batch_size or BATCH_SIZE
    return Unremembered(name, functools.cache(make), open_file, machine.threads, batch_size)


# What decides a grounder's answers, by the content of its files, and how the grounder is made.
# Learned ones import torch.
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
