"""The extractor: predict entities and relations of new posts with one or two trained models."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, overload

from model.encoder import quiet_transformers
from model.hvpnet.variants import HVPNET
from pipeline.engine.settings import check
from pipeline.errors import DataError, SettingError
from pipeline.machine import PRECISIONS, Machine, pick_device
from pipeline.prediction.describe import RecordDescriber
from pipeline.prediction.entities import Tagged, entities_of
from pipeline.prediction.explain import EXPLAINERS
from pipeline.prediction.forward import Forward, need_prefix
from pipeline.prediction.pack import MANIFEST, open_packed
from pipeline.prediction.pairs import pairs_of
from pipeline.prediction.pictures import PictureReader, Seen
from pipeline.prediction.prediction import NONE, UNREAD, USED, Entity, Prediction
from pipeline.prediction.records import Record, item, read_record
from pipeline.prediction.relations import Related, relations_of
from pipeline.prediction.runs import Files, PictureSetup, Run, TextSetup, open_run
from pipeline.training.saved import SavedModel

log = logging.getLogger(__name__)
BATCH = 64  # posts; the batch size with which training predicts val and test
Given = str | Mapping[str, Any]  # a text, or a record
Folder = str | os.PathLike[str]


class Reader(Protocol):
    """A source of regions and pyramids: computed from pictures, or read from a store."""

    def read(self, records: Sequence[Record]) -> Seen:
        """Return the regions and pyramids of a batch of records."""


@dataclass(frozen=True)
class Model:
    """One of an extractor's models.

    pictures: None if the model is text-only.
    describer: describes the pictures of records without a text; None if the model reads no picture
        texts, or if only records bring texts.
    """

    forward: Forward
    pictures: Reader | None
    describer: RecordDescriber | None = None


class Extractor:
    """Predicts entities, relations, or both.

    With both models, relations are predicted between the record's `entities` if it gives some, else
    between the predicted ones. With a relation model alone, each record must give `entities`, or
    `head` and `tail`.
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
        describer: Folder | None = None,
        threads: int | None = None,
    ) -> "Extractor":
        """Load a run of TrainNER, one of TrainRE, one of each, or a packed folder.

        device: auto, cpu or cuda.
        precision: of ResNet and text encoder, float32 or bfloat16; default: that of the training.
        backbone: file of the backbone's weights, if it was moved since the training.
        grounder: file or folder of a learned grounder's weights, if it was moved.
        describer: folder of a captioner, if it was moved.
        threads: number of threads that decode pictures; default: one per core.

        Raises DataError, SettingError, DeviceError, EncoderError or WeightsError, each with a
        message of one line; DataError if the digest of a weights file is not that of the training.
        """
        quiet_transformers()
        if precision not in (None, *PRECISIONS):
            raise SettingError(f"precision: expected {' or '.join(PRECISIONS)}, found {precision}")
        given = (backbone, grounder, describer)
        files = Files(*(None if path is None else Path(path) for path in given))
        runs = [run for folder in folders for run in _runs(Path(folder), files)]
        if not runs:
            raise SettingError("expected the folder of a model, found none")
        machine = Machine(device) if threads is None else Machine(device, threads=threads)
        models = _load_models(runs, precision, machine)
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
        """Predict one post, or several: lazily, in order, one prediction per post.

        posts: a text, a record (a dict with the fields of docs/predict.md), or an iterable of them.
        picture: picture of a single post: a path (relative to the working directory), the bytes of
            a file, or a PIL image.
        batch_size: number of posts that are in memory at once.
        min_score: leave out entities and relations that score less.
        explain: add gates and attention to regions; SettingError for a model of another system
            than HVPNeT.
        strict: raise DataError for a record that cannot be read, or a picture that cannot be used.
            Without it, the reason is in the prediction's `error` or `picture_status`.
        """
        options = Options(batch_size, min_score, explain, strict)
        if isinstance(posts, (str, Mapping)):
            fields = {"text": posts} if isinstance(posts, str) else dict(posts)
            if picture is not None:
                fields["picture"] = picture
            return next(self.stream(read_all([fields]), options))
        if picture is not None:
            raise SettingError(
                "picture: expected a single post with it, found several; give each record its own "
                "picture"
            )
        return self.stream(read_all(posts), options)

    def stream(
        self, records: Iterable["Record | Prediction"], options: "Options"
    ) -> Iterator[Prediction]:
        """Predict records in order. A Prediction in the input holds an error and is passed on.

        Raises SettingError to explain a model of another system than HVPNeT.
        """
        if options.explain:
            for model in self._models():
                need_prefix(model.forward.saved)
        waiting = iter(records)
        while batch := list(islice(waiting, options.batch_size)):
            readable = [record for record in batch if isinstance(record, Record)]
            predictions = iter(self._predict(readable, options) if readable else ())
            for record in batch:
                prediction = next(predictions) if isinstance(record, Record) else record
                if options.strict:
                    _refuse(record, prediction)
                yield prediction

    def _predict(self, records: Sequence[Record], options: "Options") -> list[Prediction]:
        """Predict one batch of records."""
        errors = [self._refusal(record) for record in records]
        good = [record for record, error in zip(records, errors, strict=True) if error is None]
        answers = iter(self._answers(good, options) if good else ())
        return [
            next(answers) if error is None else Prediction(given=record.given, error=error)
            for record, error in zip(records, errors, strict=True)
        ]

    @property
    def explains(self) -> bool:
        """True if all of its models are HVPNeT's, which `explain` needs."""
        return all(model.forward.saved.config.system == HVPNET for model in self._models())

    def _models(self) -> list[Model]:
        return [model for model in (self.entities, self.relations) if model is not None]

    def _refusal(self, record: Record) -> str | None:
        """Return an error message if these models cannot predict the record, else None."""
        if self.entities is None and record.entities is None and record.pair is None:
            return (
                f"{record.line.place}: expected entities, or head and tail, as only a relation "
                "model is loaded; also load a run of TrainNER to predict entities"
            )
        return None

    def _answers(self, records: Sequence[Record], options: "Options") -> list[Prediction]:
        models = self._models()
        readers = [model.pictures for model in models]
        seen = {reader: reader.read(records) for reader in dict.fromkeys(readers) if reader}
        batch = WithTexts.of(models, records)
        tagged = self._tagged(batch.of_model(self.entities), seen, options)
        entities = [part.entities for part in tagged]
        related = self._related(batch.of_model(self.relations), entities, seen, options)
        first = next(iter(seen.values()), None)
        predictions = [
            Prediction(
                text=record.text,
                entities=entities[n],
                relations=related[n].relations,
                picture_status=batch.status[n] if first is None else first.status[n],
                regions=() if first is None else first.regions[n],
                picture_text=batch.texts[n],
                truncated=tagged[n].truncated or related[n].truncated,
                given=record.given,
                pictures=record.pictures,
            )
            for n, record in enumerate(records)
        ]
        return self._explained(batch, predictions, seen) if options.explain else predictions

    def _given(self, record: Record) -> tuple[Entity, ...] | None:
        """Return the record's own entities if relations are predicted between them, else None."""
        if self.relations is None:
            return None
        if record.entities is not None:
            spans = [(entity.start, entity.end, entity.label) for entity in record.entities]
        elif record.pair is not None and self.entities is None:
            spans = [(record.words[a][0], record.words[b - 1][1], "") for a, b in record.pair]
        else:
            return None
        return tuple(Entity(*span, record.text[span[0] : span[1]]) for span in spans)

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
            tagged[n].cut(options.min_score) if entities is None else Tagged(entities)
            for n, entities in enumerate(given)
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
        labels = self.relations.forward.saved.labels
        pairs = [
            [(0, 1)] if self._has_only_pair(record) else pairs_of([e.label for e in known], labels)
            for record, known in zip(records, entities, strict=True)
        ]
        related = relations_of(
            self.relations.forward, records, entities, pairs, pictures, options.batch_size
        )
        return [part.cut(options.min_score) for part in related]

    def _has_only_pair(self, record: Record) -> bool:
        """Return True if a record's entities are its head and tail, and nothing else."""
        return self.entities is None and record.entities is None

    def _explained(
        self,
        batch: "WithTexts",
        predictions: Sequence[Prediction],
        seen: Mapping[Reader, Seen],
    ) -> list[Prediction]:
        """Add an explanation by each model that looks at pictures."""
        parts: list[dict[str, Any]] = [{} for _ in predictions]
        for name, model in (("entities", self.entities), ("relations", self.relations)):
            if model is not None and model.pictures is not None:
                explain = EXPLAINERS[name]
                records = batch.of_model(model)
                explanations = explain(model.forward, records, predictions, seen[model.pictures])
                for part, explanation in zip(parts, explanations, strict=True):
                    part[name] = explanation
        return [
            replace(prediction, explanation=part)
            for prediction, part in zip(predictions, parts, strict=True)
        ]


@dataclass(frozen=True)
class WithTexts:
    """A batch of records with the texts of their pictures.

    records: as they are given.
    described: the records with their texts, by describer.
    status: the picture_status of each record, if no model looks at pyramids.
    texts: the text that a model reads of each record's picture; None if no model reads texts.
    """

    records: Sequence[Record]
    described: Mapping[RecordDescriber, Sequence[Record]]
    status: Sequence[str]
    texts: Sequence[str | None]

    @classmethod
    def of(cls, models: Sequence[Model], records: Sequence[Record]) -> "WithTexts":
        """Describe the pictures of a batch with each model's describer."""
        describers = dict.fromkeys(model.describer for model in models)
        batches = {d: d.describe(records) for d in describers if d is not None}
        status = [_unread(record) for record in records]
        status = next((batch.status for batch in batches.values()), status)
        described = {describer: batch.records for describer, batch in batches.items()}
        reads = any(model.forward.saved.reads_texts for model in models)
        first = next(iter(described.values()), records)
        texts = [(record.picture_text or "") if reads else None for record in first]
        return cls(records, described, status, texts)

    def of_model(self, model: Model | None) -> Sequence[Record]:
        """Return the records as a model reads them."""
        if model is None or model.describer is None:
            return self.records
        return self.described[model.describer]


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
    """Read texts and dicts as records. A post that cannot be read gives a Prediction with error."""
    for number, post in enumerate(posts, start=1):
        fields = {"text": post} if isinstance(post, str) else post
        try:
            if not isinstance(fields, Mapping):
                raise item(number).error("a text or a dict", post)
            yield read_record(item(number), fields, Path())
        except DataError as error:
            id = fields.get("id") if isinstance(fields, Mapping) else None
            given = {"id": id} if isinstance(id, (int, str)) else {}
            yield Prediction(given=given, error=str(error))


def _refuse(record: Record | Prediction, prediction: Prediction) -> None:
    """Raise DataError if a record could not be read, or its picture could not be used."""
    if prediction.error is not None:
        raise DataError(prediction.error)
    status = prediction.picture_status
    if isinstance(record, Record) and status not in (USED, NONE, UNREAD):
        raise DataError(f"{record.line.place}: expected a picture that can be used, found {status}")


def _unread(record: Record) -> str:
    """Return the picture_status if no model looks at pictures."""
    return UNREAD if record.pictures else NONE


def _runs(folder: Path, files: Files) -> list[Run]:
    """Open a packed folder, which holds one or two runs, or the folder of a run."""
    if (folder / MANIFEST).is_file():
        return open_packed(folder, files)
    return [open_run(folder, files)]


def _load_models(runs: Sequence[Run], precision: str | None, machine: Machine) -> dict[str, Model]:
    """Load the models of runs, by task. Models with the same settings share what reads pictures."""
    readers: dict[PictureSetup, PictureReader] = {}
    describers: dict[TextSetup, RecordDescriber] = {}
    models: dict[str, Model] = {}
    for run in runs:
        saved = SavedModel.open(run.model)
        if saved.head.name in models:
            other = models[saved.head.name].forward.saved.folder
            raise SettingError(
                "expected one model for entities and one for relations, found two for one task: "
                f"{other} and {run.model}"
            )
        reader = None
        if run.pictures is not None:
            setup = _in_precision(run.pictures, precision)
            reader = readers.get(setup) or PictureReader(setup, machine)
            readers[setup] = reader
        describer = None
        if saved.reads_texts and run.texts is None:
            log.info("%s: records bring the texts of their pictures, as picture_text", run.model)
        if run.texts is not None:
            describer = describers.get(run.texts) or RecordDescriber(run.texts, machine)
            describers[run.texts] = describer
        forward = Forward(saved, precision or run.precision, pick_device(machine.device))
        models[saved.head.name] = Model(forward, reader, describer)
    return models


def _in_precision(setup: PictureSetup, precision: str | None) -> PictureSetup:
    """Return the settings with `precision` for the rows; None keeps that of the training."""
    if precision is None:
        return setup
    return replace(setup, extraction=replace(setup.extraction, precision=precision))
