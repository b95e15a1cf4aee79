"""Describers that look at pictures, run on a data set: each text is computed once and cached."""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL.Image import Image
from tqdm import tqdm

from features.pictures import PictureError, in_words, read_picture
from pipeline.description.describer import Describer
from pipeline.description.report import write_report
from pipeline.description.texts import on_one_line, write_texts
from pipeline.engine.answers import Answers
from pipeline.engine.near import NearNames
from pipeline.errors import DataError, first_few
from pipeline.grounding.crops import file_problem
from pipeline.grounding.report import in_short, log_filled

FORM = "text-1"  # version of the cached texts; raise it when they change
log = logging.getLogger(__name__)

Read = tuple[Image, float] | PictureError  # a picture and the share of its data that was filled


@dataclass(frozen=True)
class Look:
    """The inputs of a run.

    root: the data root.
    weights: digest of the describer's weights; "" without any.
    digest: returns the digest of a file's bytes.
    answers: the cache of texts.
    threads: number of threads that decode pictures.
    """

    root: Path
    describer: Describer
    weights: str
    digest: Callable[[Path], str]
    answers: Answers
    threads: int

    def key(self, name: str) -> str:
        """Return the key of a picture's text: a digest of all that decides it."""
        parts = (FORM, *self.describer.identity, self.weights, self.digest(self.root / name))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass
class Seen:
    """The texts and problems that a run found, by the pictures' names."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # why a picture can't be used
    filled: dict[str, float] = field(default_factory=dict)  # missing share of its data
    described_now: int = 0  # texts that were not in the cache


def describe_pictures(
    pictures: Sequence[str | None], look: Look, made_by: Mapping[str, Any], folder: Path
) -> None:
    """Write the texts of the posts' pictures, and a report, into `folder`.

    pictures: of the posts, in their order.

    Raises DataError if no picture can be used.
    """
    names = list(dict.fromkeys(name for name in pictures if name is not None))
    seen = see(names, look)
    if len(seen.problems) == len(names):
        first = "".join(f", such as {n} ({why})" for n, why in islice(seen.problems.items(), 1))
        raise DataError(
            f"expected pictures that can be read, found none of {len(names)}{first}. The README "
            "says where pictures go; texts of others need no pictures: --files F1,F2"
        )
    posts = ((name, "" if name is None else seen.texts.get(name, "")) for name in pictures)
    counts = write_texts(posts, made_by, folder)
    details = {
        "described_now": seen.described_now,
        "filled_now": {name: in_words(share) for name, share in sorted(seen.filled.items())},
        "problems": dict(sorted(seen.problems.items())),
    }
    write_report(counts, made_by, details, folder)
    log_filled(seen.filled)
    if seen.problems:
        log.warning("%d pictures can't be used: %s", len(seen.problems), first_few(seen.problems))


def see(names: Iterable[str], look: Look) -> Seen:
    """Look up the texts of pictures in the cache, and compute those that it lacks."""
    seen, near = Seen(), NearNames()
    missing: dict[str, list[str]] = {}  # key -> files with the same bytes
    for name in names:
        problem = file_problem(look.root / name, look.root, near)
        if problem is not None:
            seen.problems[name] = problem
            continue
        key = look.key(name)
        text = look.answers.get(key)
        if text is None:
            missing.setdefault(key, []).append(name)
        else:
            seen.texts[name] = text
    for batch in _batches(missing, look, seen):
        _describe(batch, look, seen, missing)
    return seen


def _batches(
    missing: Mapping[str, Sequence[str]], look: Look, seen: Seen
) -> Iterator[dict[str, Image]]:
    """Yield pictures by key, a batch at once; note those that can't be used."""
    batch: dict[str, Image] = {}
    size = look.describer.batch_size
    files = {key: look.root / names[0] for key, names in missing.items()}
    with tqdm(total=len(files), desc="describing", unit="picture", disable=None) as bar:
        for key, read in _decoded(files, look.threads, 2 * size):
            bar.update()
            if isinstance(read, PictureError):
                seen.problems |= dict.fromkeys(missing[key], in_short(read))
                continue
            batch[key], share = read
            if share:
                seen.filled |= dict.fromkeys(missing[key], share)
            if len(batch) == size:
                yield batch
                batch = {}
    if batch:
        yield batch


def _decoded(files: Mapping[str, Path], threads: int, most: int) -> Iterator[tuple[str, Read]]:
    """Yield pictures in order. Threads decode at most `most` of them ahead."""
    waiting = iter(files.items())
    ahead: deque[tuple[str, Future[Read]]] = deque()
    with ThreadPoolExecutor(threads) as executor:
        while True:
            for key, file in islice(waiting, most - len(ahead)):
                ahead.append((key, executor.submit(_read, file)))
            if not ahead:
                return
            key, future = ahead.popleft()
            yield key, future.result()


def _read(file: Path) -> Read:
    try:
        return read_picture(file)
    except PictureError as error:
        return error


def _describe(
    batch: Mapping[str, Image], look: Look, seen: Seen, missing: Mapping[str, Sequence[str]]
) -> None:
    """Compute the texts of a batch, and cache them."""
    texts = map(on_one_line, look.describer.texts([*batch.values()]))
    new = dict(zip(batch, texts, strict=True))
    for key, text in new.items():
        seen.texts |= dict.fromkeys(missing[key], text)
    seen.described_now += len(new)
    # If a picture changed meanwhile, don't cache its text under the key of the old one.
    look.answers.put({key: text for key, text in new.items() if look.key(missing[key][0]) == key})
