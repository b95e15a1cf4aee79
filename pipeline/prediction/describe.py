"""Describe the pictures of records as DescribePictures does, without a store."""

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from PIL.Image import Image

from features.pictures import PictureError, Source, read_picture
from pipeline.description.config import OBJECTS
from pipeline.description.describer import make_describer
from pipeline.description.objects import phrases_of
from pipeline.grounding.report import in_short
from pipeline.machine import Machine
from pipeline.prediction.pictures import RecordGrounder
from pipeline.prediction.prediction import NONE, UNREAD, USED
from pipeline.prediction.records import Record
from pipeline.prediction.runs import TextSetup

Read = Image | PictureError


@dataclass(frozen=True)
class Described:
    """A batch of records that all have a picture_text. status: the picture_status of each."""

    records: list[Record]
    status: list[str]


class RecordDescriber:
    """Gives each record the text of its picture, unless the record brings one."""

    def __init__(self, setup: TextSetup, machine: Machine) -> None:
        """Find the describer's weights. Raises WeightsError, SettingError."""
        self.machine = machine
        if setup.config.describer == OBJECTS:
            assert setup.grounding is not None, "objects are the phrases of grounded regions"
            self._grounder = RecordGrounder(setup.grounding, machine)
            self._describer = None
        else:
            self._describer = make_describer(setup.config, machine)

    def describe(self, records: Sequence[Record]) -> Described:
        """Describe the pictures of a batch. A picture that cannot be used has no text."""
        asked = [n for n, r in enumerate(records) if r.picture_text is None and r.pictures]
        texts = {n: record.picture_text or "" for n, record in enumerate(records)}
        status = [UNREAD if record.pictures else NONE for record in records]
        name = self._name_objects if self._describer is None else self._look
        for n, text in zip(asked, name([records[n] for n in asked]), strict=True):
            if isinstance(text, PictureError):
                status[n] = in_short(text)
            else:
                status[n], texts[n] = USED, text
        described = [replace(r, picture_text=texts[n]) for n, r in enumerate(records)]
        return Described(described, status)

    def _name_objects(self, records: Sequence[Record]) -> list[str | PictureError]:
        grounded = self._grounder.ground(records)
        problems = grounded.pictures.problems
        return [
            problems[str(line.picture)] if line.picture in problems else phrases_of(line)
            for line in grounded.lines
        ]

    def _look(self, records: Sequence[Record]) -> list[str | PictureError]:
        """Return the text of each record's picture; one that several share is described once."""
        assert self._describer is not None
        sources = {_key(record.pictures[0]): record.pictures[0] for record in records}
        with ThreadPoolExecutor(self.machine.threads) as executor:
            read = [*executor.map(_read, sources.values())]
        pictures = [picture for picture in read if isinstance(picture, Image)]
        texts = iter(self._describer.texts(pictures))
        found = [seen if isinstance(seen, PictureError) else next(texts) for seen in read]
        by_key = dict(zip(sources, found, strict=True))
        return [by_key[_key(record.pictures[0])] for record in records]


def _key(source: Source) -> Hashable:
    """Return the same key for the same file, or the same image that a caller opened."""
    return id(source) if isinstance(source, Image) else source


def _read(source: Source) -> Read:
    try:
        return read_picture(source)[0]
    except PictureError as error:
        return error
