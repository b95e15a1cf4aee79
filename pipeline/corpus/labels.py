"""Labels of both tasks: list those of a data set, and decode entities from tags."""

from collections.abc import Sequence

from pipeline.corpus.post import Post

NO_RELATION = "None"
OUTSIDE = "O"


def relation_labels(posts: Sequence[Post]) -> list[str]:
    """Return None, then the relations by name; of all splits, so that every post can be scored."""
    names = {post.relation for post in posts if post.relation}
    return [NO_RELATION, *sorted(names - {NO_RELATION})]


def tag_labels(posts: Sequence[Post]) -> list[str]:
    """Return O, then B- and I- of each type by name; of all splits, as for relations."""
    types = {tag[2:] for post in posts for tag in post.tags or () if tag != "O"}
    return ["O", *(prefix + name for name in sorted(types) for prefix in ("B-", "I-"))]


def entities_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return type, start and end (exclusive) of each entity in BIO tags.

    Decoding is lenient, as for published scores: an I- without a B- opens an entity.
    """
    entities: list[tuple[str, int, int]] = []
    before = OUTSIDE
    for place, tag in enumerate(clean_tags(tags)):
        if before != OUTSIDE and tag == f"I-{before[2:]}":  # continues the entity
            kind, start, _ = entities[-1]
            entities[-1] = (kind, start, place + 1)
        elif tag != OUTSIDE:
            entities.append((tag[2:], place, place + 1))
        before = tag
    return entities


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Replace every label that is not a BIO tag with O."""
    return [tag if tag.startswith(("B-", "I-")) else OUTSIDE for tag in tags]
