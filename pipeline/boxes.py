"""What grounders answer, each question once: kept by all that decides the answer."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from features.grounding import Candidate, Grounder
from features.pictures import PictureError, open_picture, picture_size
from pipeline.presets import DETECTOR, FAOA, SALIENCE, GroundConfig, Machine

FORM = "candidates-1"  # of a kept answer: another word when it changes


@dataclass(frozen=True)
class Question:
    """Where in this picture is what these phrases speak of?"""

    picture: Path
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A grounder's candidates in a picture of `size` (width, height), as it gave them."""

    size: tuple[int, int]
    candidates: tuple[Candidate, ...]


class BoxCache:
    """Answers given before, in one SQLite file.

    Written every few seconds, so that a killed run loses no more than that.
    """

    SECONDS = 5.0

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        self._connection.execute(
            "create table if not exists boxes (key text primary key, answer text) without rowid"
        )
        self._unwritten: dict[str, str] = {}
        self._written = time.monotonic()

    def __enter__(self) -> "BoxCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        self._connection.close()

    def get(self, key: str) -> Answer | None:
        """The answer kept under a key."""
        row = self._connection.execute("select answer from boxes where key=?", (key,)).fetchone()
        answer = row[0] if row else self._unwritten.get(key)
        if answer is None:
            return None
        (width, height), candidates = json.loads(answer)
        found = (Candidate(phrase, tuple(box), score) for phrase, box, score in candidates)
        return Answer((width, height), tuple(found))

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self._unwritten[key] = json.dumps([answer.size, [astuple(c) for c in answer.candidates]])
        if time.monotonic() - self._written > self.SECONDS:
            self._write()

    def _write(self) -> None:
        """The file is locked for this moment only, never while a grounder thinks."""
        with self._connection:
            self._connection.executemany(
                "insert or replace into boxes values (?, ?)", self._unwritten.items()
            )
        self._unwritten.clear()
        self._written = time.monotonic()


@dataclass
class Finder:
    """A grounder with its memory. The grounder is made, and its weights loaded, when it is needed.

    `identity`: what decides its answers beside picture and phrases. `digest`: of a file's bytes.
    """

    name: str
    identity: Sequence[str]
    make: Callable[[], Grounder]
    cache: BoxCache
    digest: Callable[[Path], str]
    threads: int
    asked: int = 0  # questions that weren't answered before

    def answers(self, questions: Iterable[Question]) -> dict[Question, Answer | PictureError]:
        """An answer to each question, or why its picture can't be used: that isn't kept."""
        keys = {question: self._key(question) for question in dict.fromkeys(questions)}
        kept = {question: self.cache.get(key) for question, key in keys.items()}
        found: dict[Question, Answer | PictureError] = {q: a for q, a in kept.items() if a}
        new = [question for question in keys if question not in found]
        if new:
            self.asked += len(new)
            for question, answer in self._ask(new):
                found[question] = answer
                if isinstance(answer, Answer):
                    self.cache.put(keys[question], answer)
        return found

    def _key(self, question: Question) -> str:
        parts: list[Any] = [FORM, self.name, *self.identity, self.digest(question.picture)]
        return hashlib.sha256(json.dumps([parts, question.phrases]).encode()).hexdigest()

    def _ask(self, questions: list[Question]) -> Iterator[tuple[Question, Answer | PictureError]]:
        grounder = self.make()
        with (
            tqdm(questions, self.name, unit="picture", disable=None) as bar,
            ThreadPoolExecutor(self.threads) as executor,
        ):
            # Pictures of one size go through a grounder together, without any padding.
            for batch in _batches(questions, grounder.batch_size):
                pictures = list(executor.map(_open, [question.picture for question in batch]))
                opened = []
                for question, picture in zip(batch, pictures, strict=True):
                    if isinstance(picture, PictureError):
                        yield question, picture
                    else:
                        opened.append((question, picture))
                for size, group in groupby(opened, key=lambda pair: pair[1].size):
                    part, images = zip(*group, strict=True)
                    phrases = [question.phrases for question in part]
                    for question, found in zip(part, grounder.find(images, phrases), strict=True):
                        yield question, Answer(size, tuple(found))
                bar.update(len(batch))


def _open(path: Path) -> Image.Image | PictureError:
    try:
        return open_picture(path)
    except PictureError as error:
        return error


def _batches(questions: Sequence[Question], most: int) -> Iterator[list[Question]]:
    """Runs of questions whose pictures have one size by their headers, at most `most` of them."""
    sizes = {question.picture: (0, 0) for question in questions}
    for picture in sizes:
        with suppress(PictureError):  # told when it is opened
            sizes[picture] = picture_size(picture)
    in_order = sorted(questions, key=lambda question: sizes[question.picture])
    for _, group in groupby(in_order, key=lambda question: sizes[question.picture]):
        while batch := list(islice(group, most)):
            yield batch


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
    return Finder(name, identity, make, cache, digest, machine.threads)


# What decides a grounder's answers, and how it is made. Learned ones import torch.
_Source = tuple[list[str], Callable[[], Grounder]]


def _salience(config: GroundConfig, machine: Machine, content: Callable[[Path], str]) -> _Source:
    from features.grounding.salience import SETTINGS, Salience

    return [SETTINGS], Salience


def _detector(config: GroundConfig, machine: Machine, content: Callable[[Path], str]) -> _Source:
    from features.grounding.detector import Detector
    from features.grounding.hub import model_folder
    from pipeline.device import pick_device

    folder = model_folder(str(config.weights))
    side, device = config.longest_side, pick_device(machine.device)
    return (
        [content(folder), config.precision, str(side)],
        lambda: Detector(folder, config.precision, side, device, machine.batch_size),
    )


def _faoa(config: GroundConfig, machine: Machine, content: Callable[[Path], str]) -> _Source:
    from features.grounding.faoa import FaoaGrounder, anchors_of
    from pipeline.device import pick_device

    checkpoint, words = Path(str(config.weights)), str(config.vocabulary)
    anchors = anchors_of(checkpoint, config.trained_on)
    device = pick_device(machine.device)
    read = content(Path(words)) if Path(words).exists() else words
    return (
        [content(checkpoint), read, str(anchors), config.precision],
        lambda: FaoaGrounder(
            checkpoint, words, anchors, config.precision, device, machine.batch_size
        ),
    )


_GROUNDERS = {SALIENCE: _salience, DETECTOR: _detector, FAOA: _faoa}
