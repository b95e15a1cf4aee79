"""Gold labels of posts as spans of characters, and the comparison of predictions with them."""

from dataclasses import dataclass

from pipeline.corpus.labels import NO_RELATION, entities_of
from pipeline.corpus.post import Post, Span
from pipeline.corpus.words import token_spans
from pipeline.prediction.prediction import Entity, Prediction


@dataclass(frozen=True)
class Gold:
    """The gold labels of a post.

    text: the post's tokens, joined by spaces, as in predictions.
    entities: None if the post has no tags.
    relation: label of head and tail, which may be "None"; None if the post has no label.
    """

    text: str
    entities: tuple[Entity, ...] | None
    head: Entity | None
    tail: Entity | None
    relation: str | None

    def is_right(self, task: str, prediction: Prediction | None) -> bool | None:
        """Return True if a prediction equals the gold labels of a task; None without either.

        task: "entities": the predicted entities are exactly the gold ones. "relations": the label
        predicted for head and tail is the gold one.
        """
        if prediction is None:
            return None
        if task == "relations":
            return None if self.relation is None else relation_of(prediction) == self.relation
        if self.entities is None:
            return None
        return _spans(self.entities) == _spans(prediction.entities)

    def has(self, entity: Entity) -> bool | None:
        """Return True if an entity is one of the gold entities; None if the post has no tags."""
        return None if self.entities is None else _spans((entity,)) <= _spans(self.entities)


def relation_of(prediction: Prediction) -> str:
    """Return the label predicted for head and tail, which may be "None"."""
    return prediction.relations[0].label if prediction.relations else NO_RELATION


def gold_of(post: Post) -> Gold:
    """Return the gold labels of a post."""
    text = " ".join(post.tokens)
    words = token_spans(text, post.tokens)
    assert words is not None, post.id

    def entity(label: str, span: Span) -> Entity:
        start, end = words[span[0]][0], words[span[1] - 1][1]
        return Entity(start, end, label, text[start:end])

    entities = None
    if post.tags is not None:
        entities = tuple(entity(label, (a, b)) for label, a, b in entities_of(post.tags))
    head, tail = (None if span is None else entity("", span) for span in (post.head, post.tail))
    return Gold(text, entities, head, tail, post.relation)


def _spans(entities: tuple[Entity, ...]) -> set[tuple[int, int, str]]:
    return {(entity.start, entity.end, entity.label) for entity in entities}
