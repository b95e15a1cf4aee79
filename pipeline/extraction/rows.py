"""Rows of the store: the source of each, the key that names it, and the folder it is in."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.pictures import Box, Preparation
from pipeline.extraction.config import RANDOM, ROW_VERSION, ExtractConfig
from pipeline.grounding.crops import Grounded

NO_KEY = bytes(32)


@dataclass(frozen=True, slots=True)
class RowSource:
    """The source of one row: a picture file, or a box (pixels) in it."""

    file: Path
    box: Box | None

    def key(self, digest: str, preparation: Preparation) -> bytes:
        """Return the 32 bytes that name the row in its backbone's folder.

        digest: of the file's bytes.
        """
        box = None if self.box is None else [float(side) for side in self.box]
        return hashlib.sha256(json.dumps([digest, box, preparation.name]).encode()).digest()


def absent_key(preparation: Preparation) -> bytes:
    """Return the key of the row of an all-zero input: the published code's "no object"."""
    return hashlib.sha256(json.dumps(["absent", preparation.size]).encode()).digest()


def made_by(config: ExtractConfig, weights: str) -> dict[str, Any]:
    """Return how pyramids are made, so that a model can refuse pyramids of another kind.

    weights: torchvision's name, "random", or a file's digest; never the file's path.
    """
    return asdict(config) | {"weights": weights}


def rows_folder(config: ExtractConfig, weights: str) -> str:
    """Return the name of the folder of one backbone's rows, which all data sets share.

    weights: as for `made_by`.
    """
    parts = {
        "version": ROW_VERSION,
        "backbone": config.backbone,
        "weights": weights,
        "seed": config.seed if config.weights == RANDOM else None,
        "precision": config.precision,
        "pooling": config.pooling,
        "grid": config.grid,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.backbone}-{config.pooling}{config.grid}-{config.precision}-{digest}"


def sources_of(post: Grounded, root: Path, slots: int) -> list[RowSource | None]:
    """Return the sources of a post's rows: its picture, its regions, then None up to `slots`."""
    sources: list[RowSource | None] = []
    if post.picture is not None:
        picture = root / post.picture
        sources.append(RowSource(picture, None))
        for region in post.regions:
            file = picture if region.file is None else root / region.file
            sources.append(RowSource(file, region.box))
    assert len(sources) <= slots, (post.id, len(sources), slots)
    return sources + [None] * (slots - len(sources))
