"""Entities of records: words in windows that the model can read -> spans in characters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """One window of a record, encoded. owner: the record's number in its batch."""

    owner: int
    window: Window
    encoded: Encoded


@dataclass(frozen=True)
class Tagged:
    """A record's entities, and whether some word was not read whole."""

    entities: tuple[Entity, ...] = ()
    truncated: bool = False

    def cut(self, min_score: float) -> "Tagged":
        """The same without entities that score less."""
        kept = tuple(one for one in self.entities if (one.score or 0.0) >= min_score)
        return Tagged(kept, self.truncated)


def readings(forward: Forward, records: Mapping[int, Record]) -> tuple[list[Reading], set[int]]:
    """Encode the windows of each record; and name those with a word that is not read whole."""
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
    encoded = saved.head.encode(
        posts, saved.tokenizer, saved.labels, saved.longest, saved.config.style
    )
    return [Reading(*part, one) for part, one in zip(parts, encoded, strict=True)], cut


def entities_of(
    forward: Forward, records: Mapping[int, Record], seen: Seen | None, batch_size: int
) -> dict[int, Tagged]:
    """The entities of numbered records, in the order of the text, with their probabilities."""
    parts, cut = readings(forward, records)
    spans: dict[int, list[ScoredEntity]] = {number: [] for number in records}
    for start in range(0, len(parts), batch_size):
        batch = parts[start : start + batch_size]
        for part, entities in zip(batch, _read(forward, batch, seen), strict=True):
            own = spans[part.owner]
            own += [entity for entity in _moved(entities, part.window) if _is_new(entity, own)]
    return {
        number: Tagged(tuple(_entity(records[number], span) for span in own), number in cut)
        for number, own in spans.items()
    }


def _read(
    forward: Forward, parts: Sequence[Reading], seen: Seen | None
) -> list[list[ScoredEntity]]:
    """The entities of each window, in its words."""
    owners = {part.encoded.number: part.owner for part in parts}
    pictures = None if seen is None else seen.of(owners)
    encoded = [part.encoded for part in parts]
    output = forward(encoded, pictures)
    labels = forward.saved.labels
    tags = forward.saved.head.read(output.tags.cpu().numpy(), encoded, labels)
    emissions = output.emissions.double().cpu().numpy()
    return [
        scored_entities(own, one.words, labels, forward.model.chain(row[: len(one.positions)]))
        for own, one, row in zip(tags, encoded, emissions, strict=True)
    ]


def _moved(entities: Sequence[ScoredEntity], window: Window) -> list[ScoredEntity]:
    """The entities that count for a window, in the words of the whole text."""
    moved = [
        ScoredEntity(one.label, one.start + window.start, one.end + window.start, one.score)
        for one in entities
    ]
    return [one for one in moved if window.first <= one.start < window.last]


def _is_new(entity: ScoredEntity, others: Sequence[ScoredEntity]) -> bool:
    """True unless an earlier window's entity reaches into this one."""
    return all(other.end <= entity.start for other in others)


def _entity(record: Record, span: ScoredEntity) -> Entity:
    start, end = record.words[span.start][0], record.words[span.end - 1][1]
    return Entity(start, end, span.label, record.text[start:end], span.score)
