"""Rows of the store: what each is computed from, the key that names it, and its folder."""

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
        """32 bytes that name the row within its backbone's folder."""
        box = None if self.box is None else [float(side) for side in self.box]
        return hashlib.sha256(json.dumps([digest, box, preparation.name]).encode()).digest()


def absent_key(preparation: Preparation) -> bytes:
    """The name of the row of an all-zero input: what the published code attends as "no object"."""
    return hashlib.sha256(json.dumps(["absent", preparation.size]).encode()).digest()


def made_by(config: ExtractConfig, weights: str) -> dict[str, Any]:
    """How pyramids are made, for models to compare with what they were trained on.

    weights: torchvision's name, "random", or a file's digest; never the file's path.
    """
    return asdict(config) | {"weights": weights}


def rows_folder(config: ExtractConfig, weights: str) -> str:
    """Name of the folder of the rows of one backbone; all data sets share it.

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
    """The whole picture and the post's regions, padded with None to `slots`."""
    sources: list[RowSource | None] = []
    if post.picture is not None:
        picture = root / post.picture
        sources.append(RowSource(picture, None))
        for region in post.regions:
            file = picture if region.file is None else root / region.file
            sources.append(RowSource(file, region.box))
    assert len(sources) <= slots, (post.id, len(sources), slots)
    return sources + [None] * (slots - len(sources))
