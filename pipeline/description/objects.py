"""The describer `objects`: the phrases of the regions that were grounded in a post's picture."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.description.report import write_report
from pipeline.description.texts import on_one_line, write_texts
from pipeline.grounding.crops import Grounded

log = logging.getLogger(__name__)


def describe_objects(posts: Iterable[Grounded], made_by: Mapping[str, Any], folder: Path) -> None:
    """Write the phrases of the posts' regions as texts, and a report, into `folder`.

    Posts with the same picture may have different phrases. No picture is opened.
    """
    counts = write_texts(((post.picture, phrases_of(post)) for post in posts), made_by, folder)
    write_report(counts, made_by, {}, folder)
    if not counts.posts_with_text:
        log.info(
            "no region has a phrase, so no post has a text: salience and released crops name no "
            "objects; --GroundCrops-grounder detector does"
        )


def phrases_of(post: Grounded) -> str:
    """Return the phrases of a post's regions, the best region's first, each once."""
    best_first = sorted(post.regions, key=lambda region: -(region.score or 0.0))
    phrases = (on_one_line(region.phrase) for region in best_first if region.phrase)
    return ", ".join(dict.fromkeys(filter(None, phrases)))
