"""Compare extraction, from JPEGs on disk to a finished store, with a bare ResNet-50 on tensors."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torchvision import models

from bench.clock import now
from bench.material import Material, ground
from bench.memory import PeakMemory
from bench.turns import in_turns
from features.backbone import load_backbone
from features.folded import Folded
from pipeline.extraction.compute import BATCHES
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.extract import Extraction, extract
from pipeline.machine import Machine, pick_device

PICTURES = 96  # each with three crops
SMALL = ExtractConfig(backbone="resnet18", size=64, weights="random")


def rows_a_second(material: Material, device: str, precision: str, pictures: int) -> float:
    """Return ExtractPyramid's rate; loading the backbone is excluded by subtracting one picture."""
    config = ExtractConfig(weights="random", precision=precision)
    loading = _seconds(material, device, config, 1)
    return (pictures - 1) * 4 / (_seconds(material, device, config, pictures) - loading)


def _seconds(
    material: Material, device: str, config: ExtractConfig, count: int, side: int | None = None
) -> float:
    files = material.pictures(count, side)
    folder = Path(tempfile.mkdtemp(dir=material.root))
    posts = ground(files, material.root, folder)
    began = now()
    run = Extraction(
        material.root,
        4,
        lambda file: hashlib.sha256(file.read_bytes()).hexdigest(),
        folder / "rows",
        "random",
        config,
        Machine(device),
    )
    extract(posts, run, folder)
    took = now() - began
    shutil.rmtree(folder)
    return took


def extract_bf16(material: Material, device: str) -> dict[str, Any]:
    """ExtractPyramid in bfloat16 : torchvision's ResNet-50 on tensors in memory, autocast."""
    return _against_bare(material, device, "bfloat16", 2 * PICTURES)


def extract_fp32(material: Material, device: str) -> dict[str, Any]:
    """ExtractPyramid in float32 : torchvision's ResNet-50 on tensors in memory."""
    return _against_bare(material, device, "float32", PICTURES)


def _against_bare(material: Material, device: str, precision: str, pictures: int) -> dict[str, Any]:
    device = pick_device(device)
    size = BATCHES[device]
    pixels = torch.randn(size, 3, 224, 224, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    resnet = models.resnet50(weights=None).eval().to(device)
    resnet = resnet.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def bare(model: torch.nn.Module = resnet) -> float:
        low = precision == "bfloat16"
        with torch.autocast(device, torch.bfloat16, enabled=low):
            model(pixels)
            began = now()
            for _ in range(4 * pictures // size):
                model(pixels)
        return 4 * pictures // size * size / (now() - began)

    result = in_turns(lambda: rows_a_second(material, device, precision, pictures), bare)
    dtype = getattr(torch, precision)
    folded = Folded(load_backbone(ExtractConfig.backbone, "random", 0), dtype).to(device)
    return {**result, "unit": "rows/s", "bare_folded": bare(folded)}


def memory_extract(material: Material, pictures: int, device: str) -> int:
    """Return the peak private memory (bytes) of extracting small pictures with ResNet-18."""
    material.pictures(pictures, 64)
    with PeakMemory() as peak:
        _seconds(material, device, SMALL, pictures, 64)
    return peak.bytes
