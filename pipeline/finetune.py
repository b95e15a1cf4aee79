"""Fine-tuning the backbone: pyramids recomputed on the fly, with gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.backbone import Backbone, load_backbone, save_state
from features.pictures import Preparation, open_picture, prepare
from features.pyramid import pool
from model.encoder import PrefixedEncoder
from pipeline.crops import read_grounded
from pipeline.digests import in_a_word, of_file
from pipeline.extract import RowSource, sources_of
from pipeline.presets import BACKBONE, PictureFiles


@dataclass(frozen=True)
class Pixels:
    """Prepared pixels of posts' regions, decoded anew for each batch.

    regions: for each post its R regions, None where ExtractPyramid found none to use.
    """

    name: str  # of the backbone and its weights
    regions: Sequence[Sequence[RowSource | None]]
    preparation: Preparation
    backbone: Backbone
    pooling: str
    grid: int

    @classmethod
    def open(cls, files: PictureFiles, name: str, index: np.ndarray) -> "Pixels":
        """Exactly the regions that have a row. index: (posts, R, 2), -1 where there is none."""
        slots = index.shape[1]
        usable = []
        for post, places in zip(read_grounded(files.grounding), index, strict=True):
            sources = sources_of(post, files.root, slots)
            usable.append(
                [s if place[0] >= 0 else None for s, place in zip(sources, places, strict=True)]
            )
        config = files.config
        backbone = load_backbone(config.backbone, config.weights, config.seed)
        preparation = Preparation(config.resize, config.size)
        return cls(name, usable, preparation, backbone, config.pooling, config.grid)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the four blocks."""
        return self.backbone.channels

    def __call__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """pixels (N, 3, S, S) of the regions that are there, row by row; regions (B, R) bool."""
        wanted = [self.regions[row] for row in rows]
        pixels = [
            prepare(open_picture(region.file), region.box, self.preparation)
            for regions in wanted
            for region in regions
            if region is not None
        ]
        size = self.preparation.size
        return {
            "pixels": torch.stack(pixels) if pixels else torch.zeros(0, 3, size, size),
            "regions": torch.tensor([[r is not None for r in regions] for regions in wanted]),
        }


class FineTuned(nn.Module):
    """An extractor behind its backbone: the same model, fed with pixels instead of rows."""

    # As in PrefixedEncoder: the loss is not averaged over accumulated steps.
    accepts_loss_kwargs = False

    def __init__(self, extractor: PrefixedEncoder, pictures: Pixels) -> None:
        super().__init__()
        self.extractor = extractor
        self.architecture = pictures.name.split()[0]
        self.backbone = pictures.backbone
        self.grid = pictures.grid
        self.pooling = pictures.pooling
        self.config = extractor.config

    def forward(self, pixels: Tensor, regions: Tensor, **batch: Any) -> Any:
        """pixels (N, 3, S, S): the regions that are True in `regions` (B, R), row by row."""
        nothing = pixels.new_zeros(1, *pixels.shape[1:])
        inputs = torch.cat((pixels, nothing))
        inputs = inputs.contiguous(memory_format=torch.channels_last)  # as in extraction
        maps = pool(self.backbone(inputs), self.grid, self.pooling)
        # Rounded as rows of the store are; the gradient passes as if they were not.
        maps = maps + (maps.half().float() - maps).detach()
        pyramid = maps[-1].expand(*regions.shape, *maps.shape[1:]).clone()
        pyramid[regions] = maps[:-1]
        return self.extractor(pyramid=pyramid, regions=regions, **batch)

    def save_backbone(self, folder: Path) -> None:
        """Write the backbone as a file that ExtractPyramid takes for its weights.

        The extractor's configuration then asks for pyramids of this backbone.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_state(self.backbone.state_dict(), folder / BACKBONE)
        self.config.backbone = f"{self.architecture} {in_a_word(of_file(folder / BACKBONE))}"
