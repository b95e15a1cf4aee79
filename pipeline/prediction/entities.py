"""Predict the entities of records: windows of words in, spans of characters out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.corpus.post import Post
from pipeline.prediction.forward import Forward
from pipeline.prediction.pictures import Seen
from pipeline.prediction.prediction import Entity
from pipeline.prediction.records import Record
from pipeline.prediction.windows import Window, windows
from pipeline.training.encode import Encoded, tokenize
from pipeline.training.entities import ScoredEntity, scored_entities


@dataclass(frozen=True)
class Reading:
    """An encoded window of a record. owner: the record's number in its batch."""

    owner: int
    window: Window
    encoded: Encoded


@dataclass(frozen=True)
class Tagged:
    """A record's entities. truncated: a word has more pieces than the model reads."""

    entities: tuple[Entity, ...] = ()
    truncated: bool = False

    def cut(self, min_score: float) -> "Tagged":
        """Leave out entities that score less."""
        kept = tuple(entity for entity in self.entities if (entity.score or 0.0) >= min_score)
        return Tagged(kept, self.truncated)


def readings(forward: Forward, records: Mapping[int, Record]) -> tuple[list[Reading], set[int]]:
    """Encode each record's windows. Also returns the records with a word longer than a window."""
    saved = forward.saved
    sentences = {number: record.tokens for number, record in records.items()}
    pieces_of = tokenize([*sentences.values()], saved.tokenizer, None)
    cut, parts = set(), []
    for owner, (_, words) in zip(sentences, pieces_of, strict=True):
        pieces = [0] * len(sentences[owner])
        for word in words:
            if word is not None:
                pieces[word] += 1
        room = saved.longest - words.count(None)
        if max(pieces, default=0) > room:
            cut.add(owner)
        parts += [(owner, window) for window in windows(pieces, room)]
    posts = {
        number: Post(str(number), "test", sentences[owner][window.start : window.end])
        for number, (owner, window) in enumerate(parts)
    }
    encoded = saved.encode(posts)

    def texts(numbers: Sequence[int]) -> list[str]:
        return [records[parts[number][0]].picture_text or "" for number in numbers]

    encoded = saved.with_texts(encoded, texts)
    return [Reading(*part, post) for part, post in zip(parts, encoded, strict=True)], cut


def entities_of(
    forward: Forward, records: Mapping[int, Record], seen: Seen | None, batch_size: int
) -> dict[int, Tagged]:
    """Predict the entities of numbered records, in the order of the text, with probabilities."""
    parts, cut = readings(forward, records)
    spans: dict[int, list[ScoredEntity]] = {number: [] for number in records}
    for start in range(0, len(parts), batch_size):
        batch = parts[start : start + batch_size]
        for part, entities in zip(batch, _read(forward, batch, seen), strict=True):
            before = spans[part.owner]
            before += [e for e in _moved(entities, part.window) if _is_new(e, before)]
    return {
        number: Tagged(
            tuple(_entity(records[number], span) for span in spans[number]), number in cut
        )
        for number in records
    }


def _read(
    forward: Forward, parts: Sequence[Reading], seen: Seen | None
) -> list[list[ScoredEntity]]:
    """Predict the entities of each window; spans count the window's words."""
    owners = {part.encoded.number: part.owner for part in parts}
    pictures = None if seen is None else seen.of(owners)
    encoded = [part.encoded for part in parts]
    output = forward(encoded, pictures)
    labels = forward.saved.labels
    tags = forward.saved.head.read(output.tags.cpu().numpy(), encoded, labels)
    emissions = output.emissions.double().cpu().numpy()
    return [
        scored_entities(best, post.words, labels, forward.model.chain(row[: len(post.positions)]))
        for best, post, row in zip(tags, encoded, emissions, strict=True)
    ]


def _moved(entities: Sequence[ScoredEntity], window: Window) -> list[ScoredEntity]:
    """Count words from the start of the text; keep entities that begin in [first, last)."""
    moved = [
        replace(entity, start=entity.start + window.start, end=entity.end + window.start)
        for entity in entities
    ]
    return [entity for entity in moved if window.first <= entity.start < window.last]


def _is_new(entity: ScoredEntity, others: Sequence[ScoredEntity]) -> bool:
    """Return True unless an entity of an earlier window overlaps this one."""
    return all(other.end <= entity.start for other in others)


def _entity(record: Record, span: ScoredEntity) -> Entity:
    start, end = record.words[span.start][0], record.words[span.end - 1][1]
    return Entity(start, end, span.label, record.text[start:end], span.score)
