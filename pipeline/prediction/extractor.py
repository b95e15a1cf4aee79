"""Extractor: entities and relations of new posts, by one or two trained models."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, overload

import transformers

from pipeline.engine.settings import check
from pipeline.errors import DataError, SettingError
from pipeline.machine import PRECISIONS, Machine, pick_device
from pipeline.prediction.entities import Tagged, entities_of
from pipeline.prediction.explain import EXPLAINED
from pipeline.prediction.forward import Forward
from pipeline.prediction.pack import MANIFEST, open_packed
from pipeline.prediction.pairs import Pair, pairs_of
from pipeline.prediction.pictures import PictureReader, Seen
from pipeline.prediction.prediction import NONE, UNREAD, USED, Entity, Prediction
from pipeline.prediction.records import Record, item, read_record
from pipeline.prediction.relations import Related, relations_of
from pipeline.prediction.runs import Files, PictureSetup, Run, open_run
from pipeline.training.saved import SavedModel

BATCH = 64  # posts; the batches in which training predicts val and test
Given = str | Mapping[str, Any]  # a text, or a record
Folder = str | os.PathLike[str]


class Reader(Protocol):
    """The pictures' side of records: computed from pictures, or read from a store."""

    def read(self, records: Sequence[Record]) -> Seen:
        """A batch's regions and pyramids."""


@dataclass(frozen=True)
class Model:
    """One of an extractor's models. pictures: None where it looks at none."""

    forward: Forward
    pictures: Reader | None


class Extractor:
    """Predicts entities, relations, or both.

    With both models, relations are asked of the entities that the first one predicts, or that came
    with a record. With a relation model alone, a record needs `entities`, or `head` and `tail`.
    """

    def __init__(self, entities: Model | None, relations: Model | None) -> None:
        self.entities, self.relations = entities, relations

    @classmethod
    def load(
        cls,
        *folders: Folder,
        device: str = "auto",
        precision: str | None = None,
        backbone: Folder | None = None,
        grounder: Folder | None = None,
        threads: int | None = None,
    ) -> "Extractor":
        """Load a run of TrainNER, one of TrainRE, one of each, or a packed folder.

        device: auto, cpu or cuda. precision: float32 or bfloat16, of all that is computed; by
        default that of the training. backbone, grounder: files of weights that lie elsewhere than
        where the training read them; others than those are refused. threads: that decode pictures.
        Raises DataError, SettingError, DeviceError, EncoderError, WeightsError, each one line.
        """
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        known = (None, *PRECISIONS)
        if precision not in known:
            raise SettingError(f"precision: expected {' or '.join(PRECISIONS)}, found {precision}")
        files = Files(*(None if one is None else Path(one) for one in (backbone, grounder)))
        runs = [run for one in folders for run in _runs(Path(one), files)]
        machine = Machine(device) if threads is None else Machine(device, threads=threads)
        readers: dict[PictureSetup, PictureReader] = {}  # models with one setup share it
        models: dict[str, Model] = {}
        for run in runs:
            saved = SavedModel.open(run.model)
            if saved.head.name in models:
                raise SettingError(
                    f"expected one model for entities and one for relations, found two of a kind: "
                    f"{models[saved.head.name].forward.saved.folder} and {run.model}"
                )
            reader = None
            if run.pictures is not None:
                setup = _in(precision, run.pictures)
                reader = readers.get(setup) or PictureReader(setup, machine)
                readers[setup] = reader
            forward = Forward(saved, precision or run.precision, pick_device(device))
            models[saved.head.name] = Model(forward, reader)
        if not models:
            raise SettingError("expected the folder of a model, found none")
        return cls(models.get("ner"), models.get("re"))

    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        posts: Given,
        *,
        picture: Any = None,
        batch_size: int = BATCH,
        min_score: float = 0.0,
        explain: bool = False,
        strict: bool = False,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        posts: Iterable[Given],
        *,
        picture: None = None,
        batch_size: int = BATCH,
        min_score: float = 0.0,
        explain: bool = False,
        strict: bool = False,
    ) -> Iterator[Prediction]: ...

    def predict(
        self,
        posts: Given | Iterable[Given],
        *,
        picture: Any = None,
        batch_size: int = BATCH,
        min_score: float = 0.0,
        explain: bool = False,
        strict: bool = False,
    ) -> Prediction | Iterator[Prediction]:
        """Predict one post, or lazily and in order each of several.

        posts: a text, a record (a dict; docs/predict.md has its fields), or an iterable of these.
        picture: of a single post; a path, the bytes of a file, or a PIL image. Relative paths are
        relative to the present folder. batch_size: posts that are in memory at once. min_score:
        entities and relations that score less are left out. explain: add gates and attention to
        regions. strict: raise DataError for a record that cannot be read, or a picture that cannot
        be used; else the prediction has an `error`, or says so in `picture_status`.
        """
        options = Options(batch_size, min_score, explain, strict)
        if isinstance(posts, (str, Mapping)):
            fields = {"text": posts} if isinstance(posts, str) else dict(posts)
            if picture is not None:
                fields["picture"] = picture
            return next(self.stream(read_all([fields]), options))
        if picture is not None:
            raise SettingError("picture: expected one post beside it; give each record its own")
        return self.stream(read_all(posts), options)

    def stream(
        self, records: Iterable["Record | Prediction"], options: "Options"
    ) -> Iterator[Prediction]:
        """Predict records in order; what is no record but an error already is passed on."""
        waiting = iter(records)
        while batch := list(islice(waiting, options.batch_size)):
            readable = [one for one in batch if isinstance(one, Record)]
            answers = iter(self._predict(readable, options) if readable else ())
            for one in batch:
                answer = next(answers) if isinstance(one, Record) else one
                if options.strict:
                    _refuse(one, answer)
                yield answer

    def _predict(self, records: Sequence[Record], options: "Options") -> list[Prediction]:
        """One batch. All of it is computed before any is given."""
        errors = [self._refusal(record) for record in records]
        good = [record for record, error in zip(records, errors, strict=True) if error is None]
        answers = iter(self._answers(good, options) if good else ())
        return [
            next(answers) if error is None else Prediction(given=record.given, error=error)
            for record, error in zip(records, errors, strict=True)
        ]

    def _refusal(self, record: Record) -> str | None:
        """Why a record cannot be predicted by these models, in one line."""
        if self.entities is None and record.entities is None and record.pair is None:
            return (
                f"{record.line.place}: expected entities, or head and tail, as only a relation "
                "model is loaded; load a run of TrainNER beside it to predict them"
            )
        return None

    def _answers(self, records: Sequence[Record], options: "Options") -> list[Prediction]:
        readers = [one.pictures for one in (self.entities, self.relations) if one is not None]
        seen = {reader: reader.read(records) for reader in dict.fromkeys(readers) if reader}
        tagged = self._tagged(records, seen, options)
        entities = [own.entities for own in tagged]
        related = self._related(records, entities, seen, options)
        first = next(iter(seen.values()), None)
        predictions = [
            Prediction(
                text=record.text,
                entities=entities[n],
                relations=related[n].relations,
                picture_status=_unread(record) if first is None else first.status[n],
                regions=() if first is None else first.regions[n],
                truncated=tagged[n].truncated or related[n].truncated,
                given=record.given,
                pictures=record.pictures,
            )
            for n, record in enumerate(records)
        ]
        return self._explained(records, predictions, seen) if options.explain else predictions

    def _given(self, record: Record) -> tuple[Entity, ...] | None:
        """The entities that come with a record, if relations are asked for and they are needed."""
        if self.relations is None:
            return None
        if record.entities is not None:
            return tuple(
                Entity(one.start, one.end, one.label, record.text[one.start : one.end])
                for one in record.entities
            )
        if record.pair is None or self.entities is not None:
            return None
        ends = [(record.words[a][0], record.words[b - 1][1]) for a, b in record.pair]
        return tuple(Entity(start, end, "", record.text[start:end]) for start, end in ends)

    def _tagged(
        self, records: Sequence[Record], seen: Mapping[Reader, Seen], options: "Options"
    ) -> list[Tagged]:
        given = [self._given(record) for record in records]
        asked = {n: record for n, record in enumerate(records) if given[n] is None}
        tagged = {}
        if self.entities is not None:
            pictures = None if self.entities.pictures is None else seen[self.entities.pictures]
            tagged = entities_of(self.entities.forward, asked, pictures, options.batch_size)
        return [
            tagged[n].cut(options.min_score) if own is None else Tagged(own)
            for n, own in enumerate(given)
        ]

    def _related(
        self,
        records: Sequence[Record],
        entities: Sequence[Sequence[Entity]],
        seen: Mapping[Reader, Seen],
        options: "Options",
    ) -> list[Related]:
        if self.relations is None:
            return [Related()] * len(records)
        pictures = None if self.relations.pictures is None else seen[self.relations.pictures]
        pairs = [self._pairs(record, own) for record, own in zip(records, entities, strict=True)]
        related = relations_of(
            self.relations.forward, records, entities, pairs, pictures, options.batch_size
        )
        return [one.cut(options.min_score) for one in related]

    def _pairs(self, record: Record, entities: Sequence[Entity]) -> list[Pair]:
        """The pairs asked about: head to tail where a record gives these alone, else all."""
        alone = self.entities is None and record.entities is None
        return [(0, 1)] if alone else pairs_of(len(entities))

    def _explained(
        self,
        records: Sequence[Record],
        predictions: Sequence[Prediction],
        seen: Mapping[Reader, Seen],
    ) -> list[Prediction]:
        """The predictions with an explanation by each model that looks at pictures."""
        parts: list[dict[str, Any]] = [{} for _ in predictions]
        for name, model in (("entities", self.entities), ("relations", self.relations)):
            if model is not None and model.pictures is not None:
                own = EXPLAINED[name](model.forward, records, predictions, seen[model.pictures])
                for part, one in zip(parts, own, strict=True):
                    part[name] = one
        return [
            replace(prediction, explanation=part)
            for prediction, part in zip(predictions, parts, strict=True)
        ]


@dataclass(frozen=True)
class Options:
    """Settings of a call of `Extractor.predict`."""

    batch_size: int = BATCH
    min_score: float = 0.0
    explain: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        check("batch_size", "1 or more", self.batch_size, self.batch_size > 0)
        check("min_score", "0 to 1", self.min_score, 0 <= self.min_score <= 1)


def read_all(posts: Iterable[Any]) -> Iterator[Record | Prediction]:
    """Records of texts and dicts, one for each; an error instead of one that cannot be read."""
    for number, post in enumerate(posts, start=1):
        fields = {"text": post} if isinstance(post, str) else post
        try:
            if not isinstance(fields, Mapping):
                raise item(number).error("a text or a dict", post)
            yield read_record(item(number), fields, Path())
        except DataError as error:
            given = {"id": fields["id"]} if isinstance(fields, Mapping) and "id" in fields else {}
            yield Prediction(given=given, error=str(error))


def _refuse(record: Record | Prediction, answer: Prediction) -> None:
    """Raise DataError for a record that could not be read, or whose picture is not used."""
    if answer.error is not None:
        raise DataError(answer.error)
    if isinstance(record, Record) and answer.picture_status not in (USED, NONE, UNREAD):
        raise DataError(f"{record.line.place}: its picture: {answer.picture_status}")


def _unread(record: Record) -> str:
    """The picture_status where no model looks at pictures."""
    return UNREAD if record.pictures else NONE


def _in(precision: str | None, setup: PictureSetup) -> PictureSetup:
    """The setup with its rows computed in a precision; None: as in the training."""
    if precision is None:
        return setup
    return replace(setup, extraction=replace(setup.extraction, precision=precision))


def _runs(folder: Path, files: Files) -> list[Run]:
    """The runs that a folder stands for: those of a packed one, else one."""
    return (
        open_packed(folder, files) if (folder / MANIFEST).is_file() else [open_run(folder, files)]
    )
