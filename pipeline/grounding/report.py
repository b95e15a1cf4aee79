"""The report of GroundCrops: counts for `report.json`, and a summary for the log."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.pictures import NO_FILE, PictureError, in_words
from pipeline.errors import first_few
from pipeline.grounding.config import DETECTOR_WEIGHTS, SALIENCE, GroundConfig
from pipeline.grounding.crops import Grounded

log = logging.getLogger(__name__)

Problems = Mapping[str, PictureError]  # by the picture's name


@dataclass
class Counts:
    """Counts of a grounding run, for its report."""

    rejected: Counter[str] = field(default_factory=Counter)  # boxes, by the reason
    asked: Counter[str] = field(default_factory=Counter)  # new questions, by grounder
    # By grounder, what its answers depend on beside picture and phrases.
    identity: dict[str, list[str]] = field(default_factory=dict)
    filled: dict[str, float] = field(default_factory=dict)  # picture -> missing share of its data


def report(
    lines: Sequence[Grounded], config: GroundConfig, problems: Problems, counts: Counts
) -> dict[str, Any]:
    """Return the contents of `report.json`, which ShowCrops shows as well."""
    regions = [region for line in lines for region in line.regions]
    return {
        "settings": config.described(),
        "posts": len(lines),
        "posts_without_picture": sum(line.picture is None for line in lines),
        "posts_with_phrases": sum(bool(line.phrases) for line in lines),
        "posts_by_phrases": _count(line.phrase_source for line in lines),
        "pictures": len({line.picture for line in lines} - {None}),
        "problems_by_kind": _count(error.kind for error in problems.values()),
        "problems": {name: in_short(error) for name, error in sorted(problems.items())},
        "pictures_filled": len(counts.filled),
        "filled": {name: in_words(share) for name, share in sorted(counts.filled.items())},
        "grounded_now": dict(counts.asked),
        "answers_by": counts.identity,
        "regions": len(regions),
        "regions_by_grounder": _count(region.source for region in regions),
        "regions_by_phrases": _count(region.phrase_source for region in regions),
        "posts_by_regions": dict(sorted(Counter(len(line.regions) for line in lines).items())),
        "rejected": dict(counts.rejected),
    }


def log_report(
    lines: Sequence[Grounded], config: GroundConfig, problems: Problems, counts: Counts
) -> None:
    """Log a summary of the report."""
    regions = _count(region.source for line in lines for region in line.regions)
    log.info(
        "%d posts: %s; pictures grounded now: %s",
        len(lines),
        ", ".join(f"{n} regions by {name}" for name, n in regions.items()) or "no regions",
        ", ".join(f"{n} by {name}" for name, n in counts.asked.items()) or "none",
    )
    by_auto = config.grounder.released and config.finder == SALIENCE
    if by_auto and SALIENCE in regions:
        log.info(
            "salience ignores phrases; --grounder detector uses them: it reads --weights FOLDER or "
            "downloads %s, which is not on this machine yet",
            DETECTOR_WEIGHTS,
        )
    if counts.rejected:
        log.info(
            "boxes rejected: %s", ", ".join(f"{n} {why}" for why, n in counts.rejected.items())
        )
    log_filled(counts.filled)
    if problems:
        kinds = _count(error.kind for error in problems.values())
        log.warning(
            "%d pictures can't be used (%s): %s",
            len(problems),
            ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
            first_few({name: in_short(error) for name, error in problems.items()}),
        )


def log_filled(filled: Mapping[str, float]) -> None:
    """Log the pictures that are cut off and were used with their missing part filled."""
    if filled:
        named = first_few({name: in_words(share) for name, share in filled.items()})
        log.warning("%d pictures are cut off; the missing part was filled: %s", len(filled), named)


def in_short(error: PictureError) -> str:
    """Return a picture's problem for reports: its kind and, unless the file is missing, why."""
    return error.kind if error.reason == NO_FILE else f"{error.kind}: {error.reason}"


def _count(names: Iterable[str | None]) -> dict[str, int]:
    """Return the count of each name, without None."""
    return dict(Counter(name for name in names if name is not None))
