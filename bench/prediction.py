"""Compare bulk prediction from JPEGs with the bare forward passes of its two networks."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor

from bench.clock import now
from bench.material import CHANNELS, REGIONS, Material
from bench.memory import PeakMemory
from bench.turns import in_turns
from features.backbone import load_backbone
from features.folded import Folded
from features.pictures import Preparation, normalise, square
from model.ner import EntityTagger
from pipeline.extraction.compute import BATCHES
from pipeline.extraction.config import ExtractConfig
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.machine import pick_device
from pipeline.prediction.extractor import BATCH, Extractor
from pipeline.training.build import build
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.encode import save_tokenizer
from pipeline.training.head_of import HEADS

POSTS = 512  # each with a picture and three boxes
TAGS = ["O", *(f"{prefix}-{name}" for name in ("LOC", "MISC", "ORG", "PER") for prefix in "BI")]
RESNET50 = ExtractConfig(weights="random", precision="bfloat16")
SMALL = ExtractConfig(backbone="resnet18", weights="random", size=64)
GIVEN = GroundConfig(Grounders("none", released=True), phrases="none")


def write_run(material: Material, encoder: str, extraction: ExtractConfig) -> Path:
    """Write a run of TrainNER with random weights: only the files that prediction reads."""
    folder = material.root / f"run-{extraction.backbone}"
    if folder.exists():
        return folder
    config = TrainConfig(encoder=encoder, precision=extraction.precision)
    transformers.set_seed(0)
    pictures = material.pyramids(1)
    backbone = load_backbone(extraction.backbone, "random", 0)
    tokenizer, model = build(HEADS["ner"], material.posts, TAGS, config, pictures)
    model.config.block_channels = list(backbone.channels)
    model.config.pyramids = {name: getattr(extraction, name) for name in extraction.__dict__}
    rebuilt = EntityTagger(model.config)
    rebuilt.save_pretrained(folder / "model")
    tokenizer.model_max_length = config.max_tokens
    save_tokenizer(tokenizer, folder / "model")
    key = {"stage": "GroundCrops", "settings": GIVEN.described(), "sources": {}}
    metrics = {"keys": [key], "config": {"precision": config.precision}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def records(material: Material, posts: int, side: int | None = None) -> list[dict[str, Any]]:
    """Return MNRE's texts with drawn pictures and three boxes of about half their width."""
    files = material.pictures(min(posts, POSTS), side)
    made = []
    for number in range(posts):
        file = files[number % len(files)]
        with Image.open(file) as image:
            width, height = image.size
        places = ((0.0, 0.1), (0.3, 0.2), (0.5, 0.4))
        boxes = [[x * width, y * height, (x + 0.5) * width, (y + 0.6) * height] for x, y in places]
        tokens = [*material.posts[number % len(material.posts)].tokens]
        made.append({"tokens": tokens, "picture": str(file), "boxes": boxes})
    return made


def predict(material: Material, device: str) -> dict[str, Any]:
    """Extractor.predict of JPEGs with boxes, bfloat16 : its ResNet-50 and its BERT-base alone.

    The bare networks get squares that are already cut, and encoded texts with pyramids in memory.
    """
    device = pick_device(device)
    extractor = Extractor.load(write_run(material, material.encoder, RESNET50), device=device)
    asked = records(material, POSTS)
    bare = _Bare(extractor, asked, device)

    def ours() -> float:
        list(extractor.predict(asked[:BATCH]))
        began = now()
        list(extractor.predict(asked))
        return POSTS / (now() - began)

    return {**in_turns(ours, bare.posts_a_second), "unit": "posts/s"}


class _Bare:
    """The bare forward passes, on inputs prepared as prediction does."""

    def __init__(self, extractor: Extractor, asked: list[dict[str, Any]], device: str) -> None:
        from pipeline.prediction.entities import readings
        from pipeline.prediction.records import item, read_record

        assert extractor.entities is not None
        self.device, self.forward = device, extractor.entities.forward
        dtype = torch.bfloat16
        backbone = load_backbone(RESNET50.backbone, "random", 0)
        self.backbone = Folded(backbone, dtype).to(device)
        self.squares = list(_batches(_squares(asked), BATCHES[torch.device(device).type]))
        given = [read_record(item(n), fields, Path()) for n, fields in enumerate(asked, start=1)]
        parts, _ = readings(self.forward, dict(enumerate(given)))
        self.texts = [part.encoded for part in parts]
        pyramid = torch.randn(BATCH, REGIONS, sum(CHANNELS), 2, 2).half()
        there = torch.ones(BATCH, REGIONS, dtype=torch.bool)
        self.tensors = lambda numbers: {
            "pyramid": pyramid[: len(numbers)],
            "regions": there[: len(numbers)],
        }

    def posts_a_second(self) -> float:
        """Return the rate of both networks run one after the other."""
        self._pictures(self.squares[:4])
        self._texts(self.texts[:BATCH])
        began = now()
        self._pictures(self.squares)
        self._texts(self.texts)
        return POSTS / (now() - began)

    @torch.inference_mode()
    def _pictures(self, batches: list[Tensor]) -> None:
        for batch in batches:
            self.backbone(normalise(batch.to(self.device)))

    def _texts(self, texts: list[Any]) -> None:
        for start in range(0, len(texts), BATCH):
            self.forward(texts[start : start + BATCH], self.tensors)


def _squares(asked: list[dict[str, Any]]) -> Iterator[np.ndarray]:
    preparation = Preparation(RESNET50.resize, RESNET50.size)
    for fields in asked:
        with Image.open(fields["picture"]) as picture:
            upright = picture.convert("RGB")
        for box in (None, *map(tuple, fields["boxes"])):
            yield square(upright, box, preparation)


def _batches(squares: Iterator[np.ndarray], size: int) -> Iterator[Tensor]:
    every = list(squares)
    for start in range(0, len(every), size):
        yield torch.from_numpy(np.stack(every[start : start + size]))


def memory_predict(material: Material, posts: int, device: str) -> int:
    """Return the peak private memory (bytes) of predicting a file of posts with small models."""
    from pipeline.prediction.bulk import Input, Target, predict_file
    from pipeline.prediction.extractor import Options

    extractor = Extractor.load(write_run(material, SCRATCH, SMALL), device=device)
    folder = Path(tempfile.mkdtemp(dir=material.root))
    with (folder / "posts.jsonl").open("w") as file:
        for fields in records(material, posts, 64):
            file.write(json.dumps(fields) + "\n")
    with PeakMemory() as peak:
        source, target = Input.open(str(folder / "posts.jsonl")), Target(folder / "out.jsonl", {})
        predict_file(extractor, source, target, Options())
    return peak.bytes
