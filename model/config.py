"""What a saved model needs to know about itself: the `config.json` of a model folder."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from model.hvpnet.variants import AT_MARKERS, HVPNET, PAPER


class ExtractorConfig(PreTrainedConfig):
    """Configuration of both extractors.

    `encoder` is the text encoder's own configuration as a plain dictionary, `block_channels` the
    channels of the pyramid's four blocks, `grid` its side, `dropout` acts before the head;
    `style` and `variant` are names in `model/hvpnet/variants.py`, `bottleneck` is the inner width
    of the published code's visual map, and `pyramids` tells how those that it was trained on were
    made. `relation_head` is the states that the relation classifier reads; folders older than it
    have none in their file, and read the markers.
    Labels live in the usual `id2label`.
    """

    model_type = "hvpnet"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        style: str = PAPER,
        variant: str = HVPNET,
        block_channels: tuple[int, ...] = (256, 512, 1024, 2048),
        grid: int = 2,
        bottleneck: int = 800,
        pyramids: dict[str, Any] | None = None,
        dropout: float = 0.1,
        marker_ids: tuple[int, ...] = (),
        relation_head: str = AT_MARKERS,
        **others: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.style = style
        self.variant = variant
        self.block_channels = list(block_channels)
        self.grid = grid
        self.bottleneck = bottleneck
        self.pyramids = pyramids or {}
        self.dropout = dropout
        self.marker_ids = list(marker_ids)
        self.relation_head = relation_head
        super().__init__(**others)

    def encoder_config(self) -> PreTrainedConfig:
        """The text encoder's configuration as transformers' own object."""
        fields = dict(self.encoder)
        return AutoConfig.for_model(fields.pop("model_type"), **fields)
