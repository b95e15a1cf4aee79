"""Generate a store of many rows without pixels, and the posts that need them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.grounding import Region
from features.pictures import Preparation
from features.store import write_shard
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.extract import Extraction, extract
from pipeline.extraction.rows import absent_key, sources_of
from pipeline.grounding.crops import Grounded
from pipeline.machine import Machine

SHARD = 4096  # rows
CONFIG = ExtractConfig(backbone="resnet18", weights="random", grid=1)
REGIONS = tuple(Region(None, (0.0, 0.0, n, n), 1.0, None, "generated") for n in (10.0, 11.0, 12.0))


@dataclass(frozen=True)
class Posts:
    """One post per picture, with three boxes each. Can be iterated repeatedly."""

    pictures: int

    def __iter__(self) -> Iterator[Grounded]:
        for n in range(self.pictures):
            yield Grounded(str(n), "train", ("a",), f"pictures/{n}.jpg", None, (), REGIONS)


def write_rows(folder: Path) -> None:
    """Write shards to `folder/rows`: a row of one number per picture and box of `folder`."""
    preparation = Preparation(CONFIG.resize, CONFIG.size)
    keys = [absent_key(preparation)]
    for post in _posts(folder):
        sources = sources_of(post, folder, 4)
        keys += [s.key(_digest(s.file), preparation) for s in sources if s is not None]
        if len(keys) >= SHARD:
            _write(folder / "rows", keys)
            keys.clear()
    if keys:
        _write(folder / "rows", keys)


def index(folder: Path) -> None:
    """Look up all rows and write the index, as ExtractPyramid does after texts changed."""
    rows, out = folder / "rows", folder / "out"
    out.mkdir()
    extract(_posts(folder), Extraction(folder, 4, _digest, rows, "random", CONFIG, Machine()), out)


def _posts(folder: Path) -> Posts:
    return Posts(sum(1 for _ in (folder / "pictures").iterdir()))


def _write(folder: Path, keys: list[bytes]) -> None:
    write_shard(folder, keys, np.zeros((len(keys), 1, 1, 1), np.float16))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.name.encode()).hexdigest()
