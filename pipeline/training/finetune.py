"""Fine-tune the backbone: recompute pyramids from pixels in each step, with gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from features.backbone import Backbone, load_backbone
from features.pictures import Preparation, open_picture, prepare
from features.weights import save_state
from model.contract import System
from model.groups import ParameterGroup
from pipeline.engine.digests import in_a_word, of_file
from pipeline.extraction.compute import maps_of
from pipeline.extraction.config import ExtractConfig, PictureFiles
from pipeline.extraction.index import StoredPyramids
from pipeline.extraction.rows import RowSource, made_by, sources_of
from pipeline.grounding.crops import GroundedPosts
from pipeline.training.config import BACKBONE


@dataclass(frozen=True)
class Pixels:
    """Prepared pixels of posts' regions, decoded again for each batch.

    regions: the R regions of each post; None where ExtractPyramid stored no row.
    config: of the extraction.
    made_by: how the pyramids are made; see `rows.made_by`.
    backbone: the network to fine-tune.
    """

    regions: Sequence[Sequence[RowSource | None]]
    config: ExtractConfig
    made_by: dict[str, Any]
    backbone: Backbone

    @classmethod
    def open(cls, files: PictureFiles, stored: StoredPyramids) -> "Pixels":
        """Open the pixels of exactly the regions that have a row in the store."""
        slots = stored.there.shape[1]
        usable = []
        for post, there in zip(GroundedPosts(files.grounding), stored.there, strict=True):
            sources = sources_of(post, files.root, slots)
            usable.append([s if t else None for s, t in zip(sources, there, strict=True)])
        config = files.config
        backbone = load_backbone(config.backbone, config.weights, config.seed)
        return cls(usable, config, stored.made_by, backbone)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four blocks."""
        return self.backbone.channels

    @property
    def grid(self) -> int:
        """Side of a pooled map."""
        return self.config.grid

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return pixels (N, 3, S, S) of the regions, post by post, and regions (B, R) bool."""
        wanted = [self.regions[number] for number in numbers]
        preparation = Preparation(self.config.resize, self.config.size)
        pixels = [
            prepare(open_picture(region.file), region.box, preparation)
            for regions in wanted
            for region in regions
            if region is not None
        ]
        size = self.config.size
        return {
            "pixels": torch.stack(pixels) if pixels else torch.zeros(0, 3, size, size),
            "regions": torch.tensor([[r is not None for r in regions] for regions in wanted]),
        }


class FineTuned(nn.Module):
    """The extractor and its backbone: the same model, with pixels instead of rows as input."""

    # As in System: the loss is not averaged over accumulated steps.
    accepts_loss_kwargs = False

    def __init__(self, extractor: System, pictures: Pixels) -> None:
        super().__init__()
        self.extractor = extractor
        self.backbone = pictures.backbone
        self.extraction = pictures.config
        self.config = extractor.config

    def forward(self, pixels: Tensor, regions: Tensor, **batch: Any) -> Any:
        """Run the model. pixels: (N, 3, S, S), the regions that are True in `regions` (B, R)."""
        absent = pixels.new_zeros(1, *pixels.shape[1:])
        inputs = torch.cat((pixels, absent))
        inputs = inputs.contiguous(memory_format=torch.channels_last)  # as in extraction
        maps = maps_of(self.backbone, inputs, self.extraction)
        # Round to float16 as in the store; the gradient ignores the rounding.
        maps = maps + (maps.half().float() - maps).detach()
        pyramid = maps[-1].expand(*regions.shape, *maps.shape[1:]).clone()
        pyramid[regions] = maps[:-1]
        return self.extractor(pyramid=pyramid, regions=regions, **batch)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the extractor's groups, and the backbone's with its own learning rate."""
        return [*self.extractor.parameter_groups(), ParameterGroup("backbone", [self.backbone])]

    def save_backbone(self, folder: Path) -> None:
        """Write the backbone's weights as a file for `ExtractPyramid --weights`.

        Also sets the extractor's configuration to pyramids of this backbone.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_state(self.backbone.state_dict(), folder / BACKBONE)
        digest = in_a_word(of_file(folder / BACKBONE))
        self.config.pyramids = made_by(replace(self.extraction, seed=0), digest)
