"""Predict a whole data set from stored pyramids, and store the answers for later runs."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from features.grounding import Region
from model.encoder import quiet_transformers
from pipeline.corpus.post import Post
from pipeline.description.texts import StoredTexts
from pipeline.engine.answers import Answers
from pipeline.engine.files import read_json, write_json
from pipeline.errors import StageError
from pipeline.extraction.config import PictureFiles
from pipeline.extraction.index import ABOUT, INDEX, StoredPyramids
from pipeline.grounding.config import READ_PHRASES
from pipeline.grounding.crops import Grounded, GroundedPosts
from pipeline.machine import pick_device
from pipeline.prediction.extractor import BATCH, Extractor, Model, Options
from pipeline.prediction.forward import Forward
from pipeline.prediction.pictures import Seen
from pipeline.prediction.posts import posts_to_predict, record_of
from pipeline.prediction.prediction import NONE, UNREAD, USED, Entity, Prediction, Relation
from pipeline.prediction.records import Record
from pipeline.training.results import metrics_of
from pipeline.training.saved import SavedModel, check_pyramids, warn_of_texts

PREDICTIONS = "predictions.jsonl"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Used:
    """A model to predict with. digest: of its folder's contents. precision: of its forward pass."""

    folder: Path
    digest: str
    precision: str


@dataclass(frozen=True)
class StoredRun:
    """The models, files and settings to predict a data set with.

    version: changes if the same input gives another answer, or answers are stored differently.
    files: stored pyramids and pictures; None if no model looks at pictures.
    device: auto, cpu or cuda.
    batch_size: posts.
    texts: output of DescribePictures; None if no model reads picture texts.
    """

    version: int
    models: Sequence[Used]
    files: PictureFiles | None
    device: str
    batch_size: int = BATCH
    texts: Path | None = None


class StoredPictures:
    """Stored regions and pyramids of a data set's posts, by the numbers of their records."""

    def __init__(self, files: PictureFiles) -> None:
        """Open the files. Raises StoreError if a shard is damaged."""
        self.pyramids = StoredPyramids.open(files.extraction, files.pyramids)
        self.lines: Sequence[Grounded] = list(GroundedPosts(files.grounding))
        self.problems: Mapping[str, str] = read_json(files.extraction / "report.json")["problems"]
        about = read_json(files.extraction / ABOUT)
        self._index = np.load(files.extraction / INDEX, allow_pickle=False)
        self._rows, self._shards = about["rows"], about["shards"]

    def read(self, records: Sequence[Record]) -> Seen:
        """Return what `PictureReader.read` returns, from the store."""
        numbers = [record.line.number for record in records]
        tensors = self.pyramids(numbers)
        return Seen(
            pyramid=tensors["pyramid"],
            there=tensors["regions"],
            status=[self.status(number) for number in numbers],
            regions=[self.regions(number) for number in numbers],
        )

    def regions(self, number: int) -> tuple[Region, ...]:
        """Return the regions of a post that have a row."""
        used = self.pyramids.there[number, 1:]
        pairs = zip(self.lines[number].regions, used, strict=False)
        return tuple(region for region, is_used in pairs if is_used)

    def status(self, number: int) -> str:
        """Return the picture_status of a post."""
        line = self.lines[number]
        if line.picture is None:
            return NONE
        if self.pyramids.there[number, 0]:
            return USED
        # Of several files with the same bytes, the extraction's report names only the first.
        return self.problems.get(line.picture) or line.problem or "broken"

    def rows(self, number: int) -> list[str]:
        """Return a unique name for each row of a post; "" where there is no row."""
        return [
            "" if shard < 0 else f"{self._rows}/{self._shards[shard]}/{row}"
            for shard, row in self._index[number].tolist()
        ]


def predict_into(
    folder: Path,
    posts: Sequence[Post],
    root: Path,
    run: StoredRun,
    answers: Answers,
    check_sources: Callable[[], None],
) -> None:
    """Write `predictions.jsonl` and `report.json` of a data set into `folder`.

    root: the data root.
    answers: stored answers, keyed by all that decides them; new ones are added.
    check_sources: raises if the models on disk no longer have the digests in `run`; called once
        they are loaded, so that no answer is stored under another model's digest.

    Raises DataError if no post can be predicted, or if the pyramids are of another kind than those
    that a model was trained on.
    """
    quiet_transformers()
    saved = [SavedModel.open(model.folder) for model in run.models]
    pictures = None if run.files is None else open_pictures(run.files, saved)
    texts = None if run.texts is None else StoredTexts.open(run.texts)
    if texts is not None:
        for model in saved:
            if model.reads_texts:
                warn_of_texts(model.config, texts.made_by, model.folder)
    finds_entities = any(model.head.name == "ner" for model in saved)

    def record(number: int) -> Record:  # made when needed: there may be millions
        return record_of(number, posts[number], root.absolute(), finds_entities, texts)

    numbers = posts_to_predict(posts, finds_entities)
    if not finds_entities and len(numbers) < len(posts):
        log.info("%d posts without head, tail and tags are left out", len(posts) - len(numbers))
    keys = {number: _key(record(number), run, pictures) for number in numbers}
    new: dict[str, int] = {}
    for number, key in keys.items():
        if key not in new and answers.get(key) is None:
            new[key] = number
    log.info("%d posts, %d to predict", len(keys), len(new))
    if new:
        precisions = [used.precision for used in run.models]
        extractor = make_extractor(saved, precisions, run.device, pictures)
        check_sources()
        _predict(new, map(record, new.values()), extractor, run.batch_size, answers)
    statuses: Counter[str] = Counter()
    truncated = 0
    with (folder / PREDICTIONS).open("w", encoding="utf-8", newline="\n") as file:
        for number, key in keys.items():
            prediction = _read(record(number), answers.get(key), pictures)
            statuses[prediction.picture_status.partition(":")[0]] += 1
            truncated += prediction.truncated
            file.write(f"{prediction.to_json()}\n")
    report = {"posts": len(keys), "predicted_now": len(new), "pictures": dict(statuses)}
    write_json(folder / "report.json", report | {"truncated": truncated})


def open_pictures(files: PictureFiles, saved: Sequence[SavedModel]) -> StoredPictures:
    """Open the stored pictures of a data set for models.

    Raises DataError if a model was trained on pyramids of another kind; StoreError.
    """
    pictures = StoredPictures(files)
    for model in saved:
        if not model.is_text_only:
            check_pyramids(model.config, pictures.pyramids, model.folder)
            _warn_of_grounding(model.folder, files.grounding)
    return pictures


def _warn_of_grounding(model: Path, grounding: Path) -> None:
    """Log a warning if the pictures of a model's training were grounded with other settings."""
    keys = metrics_of(model).get("keys", ())
    then = next((key["settings"] for key in keys if key["stage"] == "GroundCrops"), None)
    now = read_json(grounding / "report.json")["settings"]
    if then is None:
        return
    names = ["grounder", "max_crops"]
    if any(word in READ_PHRASES for word in now["grounder"].split(", ")):
        names.append("phrases")
    differ = [name for name in names if then.get(name) != now[name]]
    if differ:
        log.warning(
            "%s: expected pictures grounded as at training (%s), found %s; scores may drop; give "
            "the settings of the training with %s",
            model,
            ", ".join(f"{name} {then.get(name)}" for name in differ),
            ", ".join(f"{name} {now[name]}" for name in differ),
            ", ".join(f"--GroundCrops-{name.replace('_', '-')}" for name in differ),
        )


def _key(record: Record, run: StoredRun, pictures: StoredPictures | None) -> str:
    """Return a digest of all that decides a record's answer."""
    models = sorted((model.digest, model.precision) for model in run.models)
    given = None if record.entities is None else [astuple(entity) for entity in record.entities]
    rows = None if pictures is None else pictures.rows(record.line.number)
    parts = [run.version, models, record.tokens, given, record.pair, rows]
    parts += [] if record.picture_text is None else [record.picture_text]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def make_extractor(
    saved: Sequence[SavedModel],
    precisions: Sequence[str],
    device: str,
    pictures: StoredPictures | None,
) -> Extractor:
    """Return an extractor that reads its pictures from the store.

    precisions: precision of each model's forward pass.
    device: auto, cpu or cuda.
    pictures: None if no model looks at pictures.
    """
    device = pick_device(device)
    models = {
        model.head.name: Model(
            Forward(model, precision, device), None if model.is_text_only else pictures
        )
        for model, precision in zip(saved, precisions, strict=True)
    }
    return Extractor(models.get("ner"), models.get("re"))


def _predict(
    keys: Iterable[str],
    records: Iterable[Record],
    extractor: Extractor,
    batch_size: int,
    answers: Answers,
) -> None:
    """Predict records, and store each answer under its key."""
    predictions = extractor.stream(records, Options(batch_size))
    pairs = zip(keys, predictions, strict=True)
    for key, prediction in tqdm(pairs, "predicting", unit="post", disable=None):
        assert prediction.error is None, prediction.error
        answers.put({key: json.dumps(_kept(prediction))})


def _kept(prediction: Prediction) -> list[Any]:
    """Return the part of a prediction to store; `_read` gets the rest from record and store."""
    return [
        [astuple(entity) for entity in prediction.entities],
        [astuple(relation) for relation in prediction.relations],
        prediction.truncated,
    ]


def _read(record: Record, kept: str | None, pictures: StoredPictures | None) -> Prediction:
    """Turn a stored answer into a prediction. Raises StageError if the answer is missing."""
    if kept is None:
        raise StageError(
            "expected all answers in predictions.sqlite, found some missing: it was damaged during "
            "this run; run the same command again"
        )
    entities, relations, truncated = json.loads(kept)
    number = record.line.number
    unread = UNREAD if record.pictures else NONE
    return Prediction(
        text=record.text,
        entities=tuple(Entity(*entity) for entity in entities),
        relations=tuple(Relation(*relation) for relation in relations),
        picture_status=unread if pictures is None else pictures.status(number),
        regions=() if pictures is None else pictures.regions(number),
        picture_text=record.picture_text,
        truncated=truncated,
        given=record.given,
        pictures=record.pictures,
    )
