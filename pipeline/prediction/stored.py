"""Predict a whole data set through the store: what was predicted before costs nothing again."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from tqdm import tqdm

from features.grounding import Region
from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post, Span
from pipeline.corpus.records import Entity as Given
from pipeline.corpus.words import token_spans
from pipeline.engine.answers import Answers
from pipeline.engine.files import read_json, write_json
from pipeline.errors import DataError
from pipeline.extraction.config import PictureFiles
from pipeline.extraction.index import ABOUT, INDEX, StoredPyramids
from pipeline.grounding.crops import Grounded, GroundedPosts
from pipeline.machine import pick_device
from pipeline.prediction.extractor import BATCH, Extractor, Model, Options
from pipeline.prediction.forward import Forward
from pipeline.prediction.pictures import Seen
from pipeline.prediction.prediction import NONE, UNREAD, USED, Entity, Prediction, Relation
from pipeline.prediction.records import Item, Record
from pipeline.training.evaluate import check_pyramids
from pipeline.training.possible import repeated
from pipeline.training.saved import SavedModel

FORM = "prediction-1"  # of a kept answer: another word when the same input gives another
log = logging.getLogger(__name__)


class StoredPictures:
    """The pictures' side of a data set's posts, by the numbers of their records."""

    def __init__(self, files: PictureFiles) -> None:
        """Raises StoreError where a shard is damaged."""
        self.stored = StoredPyramids.open(files.extraction, files.pyramids)
        self.lines: Sequence[Grounded] = list(GroundedPosts(files.grounding))
        self.problems: Mapping[str, str] = read_json(files.extraction / "report.json")["problems"]
        about = read_json(files.extraction / ABOUT)
        self._index = np.load(files.extraction / INDEX, allow_pickle=False)
        self._rows, self._shards = about["rows"], about["shards"]

    def read(self, records: Sequence[Record]) -> Seen:
        """As PictureReader reads pictures, but from the store."""
        numbers = [record.line.number for record in records]
        tensors = self.stored(numbers)
        return Seen(
            pyramid=tensors["pyramid"],
            there=tensors["regions"],
            status=[self.status(number) for number in numbers],
            regions=[self.regions(number) for number in numbers],
        )

    def regions(self, number: int) -> tuple[Region, ...]:
        """The regions of a post that have a row."""
        own = zip(self.lines[number].regions, self.stored.there[number, 1:], strict=False)
        return tuple(region for region, used in own if used)

    def status(self, number: int) -> str:
        """The picture_status of a post."""
        picture = self.lines[number].picture
        if picture is None:
            return NONE
        if self.stored.there[number, 0]:
            return USED
        return self.problems.get(picture) or str(self.lines[number].problem)

    def names(self, number: int) -> list[str]:
        """The rows of a post by names that no other row ever has; "" where there is none."""
        return [
            "" if shard < 0 else f"{self._rows}/{self._shards[shard]}/{row}"
            for shard, row in self._index[number].tolist()
        ]


def record_of(number: int, post: Post, root: Path) -> Record:
    """A post of a data set as a record. root: the data root, of its picture."""
    text = " ".join(post.tokens)
    words = token_spans(text, post.tokens)
    assert words is not None, post.id
    picture = None if post.picture is None else root / post.picture
    given: dict[str, Any] = {"id": post.id, "tokens": [*post.tokens]}
    return Record(
        line=Item(Path(), number, post.id),
        text=text,
        words=tuple(words),
        entities=_tagged(post, words),
        pair=None if post.head is None or post.tail is None else (post.head, post.tail),
        pictures=() if picture is None else (picture,),
        given=given | ({} if picture is None else {"picture": str(picture)}),
    )


def _tagged(post: Post, words: Sequence[Span]) -> tuple[Given, ...] | None:
    """The entities that a post without head and tail is tagged with."""
    if post.tags is None or post.head is not None:
        return None
    return tuple(
        Given(words[start][0], words[end - 1][1], label)
        for label, start, end in entities_of(post.tags)
    )


def records_of(posts: Sequence[Post], root: Path, finds_entities: bool) -> list[Record]:
    """The posts that can be predicted. Raises DataError where there are none.

    finds_entities: a model for entities is there, which needs no more than a text; each sentence is
    then read once, however many relations it has. A relation model alone needs a post's head and
    tail, or its tags.
    """
    again = repeated(posts) if finds_entities else set()
    records = [record_of(n, post, root) for n, post in enumerate(posts) if n not in again]
    if finds_entities:
        return [replace(record, entities=None, pair=None) for record in records]
    asked = [one for one in records if one.pair is not None or one.entities is not None]
    if not asked:
        raise DataError(
            f"a relation model alone predicts posts with head and tail, or with tags; expected "
            f"some, found none among {len(posts)}; add a model of TrainNER: --model RUN,RUN"
        )
    if len(asked) < len(records):
        log.info(
            "%d posts have neither head and tail nor tags: left out", len(records) - len(asked)
        )
    return asked


@dataclass(frozen=True)
class Run:
    """What a prediction is made with. models: folder -> its digest, and its precision."""

    models: Mapping[Path, tuple[str, str]]
    files: PictureFiles | None
    device: str
    batch_size: int = BATCH


def predict_into(
    folder: Path, posts: Sequence[Post], root: Path, run: Run, answers: Answers
) -> None:
    """The prediction stage: `predictions.jsonl` and `report.json` into `folder`.

    answers: what was predicted before, by texts, rows and models; it gets what is new. Raises
    DataError where pyramids are not of the kind that a model was trained on.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    pictures = None if run.files is None else StoredPictures(run.files)
    saved = [SavedModel.open(model) for model in run.models]
    for one in saved:
        if pictures is not None and not one.is_text_only:
            check_pyramids(one.config, pictures.stored, one.folder)
    records = records_of(posts, root, any(one.head.name == "ner" for one in saved))
    keys = [_key(record, run, pictures) for record in records]
    new = {
        key: record for key, record in zip(keys, records, strict=True) if answers.get(key) is None
    }
    log.info("%d posts, %d to predict", len(records), len(new))
    if new:
        _predict(new, _extractor(saved, run, pictures), run.batch_size, answers)
    counts = {"posts": len(records), "predicted_now": len(new)}
    with (folder / "predictions.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for record, key in zip(records, keys, strict=True):
            file.write(f"{_read(record, key, pictures, answers).to_json()}\n")
    write_json(folder / "report.json", counts)


def _key(record: Record, run: Run, pictures: StoredPictures | None) -> str:
    """All that decides a record's answer, as a digest."""
    given = None if record.entities is None else [astuple(one) for one in record.entities]
    rows = None if pictures is None else pictures.names(record.line.number)
    parts = [FORM, sorted(run.models.values()), record.tokens, given, record.pair, rows]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _extractor(saved: Sequence[SavedModel], run: Run, pictures: StoredPictures | None) -> Extractor:
    models = {
        one.head.name: Model(
            Forward(one, run.models[one.folder][1], pick_device(run.device)),
            None if one.is_text_only else pictures,
        )
        for one in saved
    }
    return Extractor(models.get("ner"), models.get("re"))


def _predict(
    new: Mapping[str, Record], extractor: Extractor, batch_size: int, answers: Answers
) -> None:
    bar = tqdm(total=len(new), desc="predicting", unit="post", disable=None)
    predictions = extractor.stream(new.values(), Options(batch_size))
    with bar:
        for key, prediction in zip(new, predictions, strict=True):
            assert prediction.error is None, prediction.error
            answers.put({key: json.dumps(_kept(prediction))})
            bar.update()


def _kept(prediction: Prediction) -> list[Any]:
    """The answer itself; what else a prediction holds is at hand when it is read."""
    return [
        [astuple(entity) for entity in prediction.entities],
        [astuple(relation) for relation in prediction.relations],
        prediction.truncated,
    ]


def _read(
    record: Record, key: str, pictures: StoredPictures | None, answers: Answers
) -> Prediction:
    """A kept answer as a prediction."""
    kept = answers.get(key)
    assert kept is not None, record.given
    entities, relations, truncated = json.loads(kept)
    number = record.line.number
    status = UNREAD if record.pictures else NONE
    return Prediction(
        text=record.text,
        entities=tuple(Entity(*one) for one in entities),
        relations=tuple(Relation(*one) for one in relations),
        picture_status=status if pictures is None else pictures.status(number),
        regions=() if pictures is None else pictures.regions(number),
        truncated=truncated,
        given=record.given,
    )
