"""Edges of sentences' dependency trees, by spaCy's parser where it is installed."""

import logging
from collections.abc import Sequence
from functools import cache

from pipeline.grounding.noun_phrases import SpacyPhrases, installed

Edges = list[tuple[int, int]]
log = logging.getLogger(__name__)


def dependency_edges(sentences: Sequence[Sequence[str]]) -> list[Edges]:
    """Return the (head, dependent) pairs of each sentence's words, without its roots.

    Without spaCy and its model no sentence has an edge, which one line of the log says, once.
    """
    parser = _parser()
    if parser is None:
        return [[] for _ in sentences]
    return [
        [(word.head.i, word.i) for word in doc if word.head.i != word.i]
        for doc in parser.docs(sentences)
    ]


@cache
def _parser() -> SpacyPhrases | None:
    """Load the parser; None if it is not installed."""
    if installed():
        return SpacyPhrases()
    log.warning(
        "spaCy or its model is not installed: no word is joined to another; "
        "pip install -e '.[phrases]' installs both"
    )
    return None
