"""What grounders answer, each question once: kept by all that decides the answer."""

import hashlib
import json
import logging
import time
import zlib
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
from pipeline.engine.memo import Memo
from pipeline.grounding.config import DETECTOR, FAOA, SALIENCE, GroundConfig
from pipeline.machine import Machine

FORM = "candidates-1"  # of a kept answer: another word when it changes
_TABLE = "create table if not exists answers (key text primary key, answer text, crc integer)"
_FIND = "select answer, crc from answers where key=?"
_KEEP = "insert or replace into answers values (?, ?, ?)"
log = logging.getLogger(__name__)


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
    """Answers given before, in one SQLite file, each with its CRC-32."""

    SECONDS = 1.0  # a killed run loses no more than this and the batch under way

    def __init__(self, path: Path) -> None:
        self._memo = Memo(path, _TABLE, check=True)
        self._unwritten: dict[str, str] = {}
        self._written = time.monotonic()

    def __enter__(self) -> "BoxCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._memo.close()

    def get(self, key: str) -> Answer | None:
        """The answer kept under a key; None, too, where it was damaged."""
        answer = self._unwritten.get(key)
        if answer is None:
            row = self._memo.find(_FIND, [key])
            if row is None:
                return None
            answer, crc = row
            if _crc(key, str(answer)) != crc:
                log.warning("a damaged answer in boxes.sqlite is asked for again: %s", key[:16])
                return None
        (width, height), candidates = json.loads(answer)
        found = (Candidate(phrase, tuple(box), score) for phrase, box, score in candidates)
        return Answer((width, height), tuple(found))

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keep a batch of answers."""
        for key, answer in answers.items():
            candidates = [astuple(candidate) for candidate in answer.candidates]
            self._unwritten[key] = json.dumps([answer.size, candidates])
        if time.monotonic() - self._written > self.SECONDS:
            self._write()

    def _write(self) -> None:
        """The file is locked for this moment only, never while a grounder thinks."""
        new = ((key, answer, _crc(key, answer)) for key, answer in self._unwritten.items())
        self._memo.keep(_KEEP, new)
        self._unwritten.clear()
        self._written = time.monotonic()


def _crc(key: str, answer: str) -> int:
    return zlib.crc32(f"{key} {answer}".encode())


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
        for batch in self._ask(new):
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

    def _ask(self, questions: list[Question]) -> Iterator[dict[Question, Answer | PictureError]]:
        """Answers to new questions, as soon as they are there."""
        grounder: Grounder | None = None
        part: Part = []
        with tqdm(total=len(questions), desc=self.name, unit="question", disable=None) as bar:
            for own, picture in _opened(questions, self.threads, 2 * self.batch_size):
                bar.update(len(own))
                if isinstance(picture, PictureError):
                    yield dict.fromkeys(own, picture)
                    continue
                grounder = grounder or self.make()
                # Questions about one picture are one, unless their phrases affect each other.
                for asked in [[question] for question in own] if grounder.joint else [own]:
                    other = part and grounder.one_size and part[-1][0].size != picture.size
                    if other or len(part) == self.batch_size:
                        yield _answer(part, grounder)
                        part = []
                    part.append((picture, asked))
            if part and grounder:
                yield _answer(part, grounder)


Part = list[tuple[Image.Image, list[Question]]]  # pictures, and the questions asked of each at once


def _opened(
    questions: Iterable[Question], threads: int, most: int
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
                ahead.append((own, executor.submit(_open, picture)))
            if not ahead:
                return
            own, future = ahead.popleft()
            yield own, future.result()


def _open(path: Path) -> Image.Image | PictureError:
    try:
        return open_picture(path)
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
    identity, make = _GROUNDERS[name](config, machine, content)
    return Finder(name, identity, make, cache, digest, machine.threads, machine.batch_size or 8)


# What decides a grounder's answers, and how it is made. Learned ones import torch.
_Source = tuple[list[str], Callable[[], Grounder]]


def _salience(config: GroundConfig, machine: Machine, content: Callable[[Path], str]) -> _Source:
    from features.grounding.salience import SETTINGS, Salience

    return [SETTINGS], Salience


def _detector(config: GroundConfig, machine: Machine, content: Callable[[Path], str]) -> _Source:
    from features.grounding.detector import SETTINGS, Detector
    from features.grounding.hub import model_folder
    from pipeline.machine import pick_device

    folder = model_folder(str(config.weights))
    side, device = config.longest_side, pick_device(machine.device)
    return (
        [SETTINGS, content(folder), config.precision, str(side)],
        lambda: Detector(folder, config.precision, side, device),
    )


def _faoa(config: GroundConfig, machine: Machine, content: Callable[[Path], str]) -> _Source:
    from features.grounding.faoa import SETTINGS, FaoaGrounder
    from pipeline.machine import pick_device

    checkpoint, words = Path(str(config.weights)), str(config.vocabulary)
    data, device = str(config.trained_on), pick_device(machine.device)
    read = content(Path(words)) if Path(words).exists() else words
    return (
        [SETTINGS, content(checkpoint), read, data, config.precision],
        lambda: FaoaGrounder(checkpoint, words, data, config.precision, device),
    )


_GROUNDERS = {SALIENCE: _salience, DETECTOR: _detector, FAOA: _faoa}
